//! The world: events in virtual time. Rotations run as Secrets Manager runs them, one store call at a time, and anything
//! may happen between two calls.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use token_issuance::rotation::{
    CURRENT, LocalKeyMaker, PENDING, Rotation, RotationError, SecretVersions as _, Step, WithdrawalReport,
};
use token_jose::{KeyRing, KeySet, Kid, ROTATION_STEP_S, RingError, Withdrawal};
use token_testkit::{Fault, MemoryPublished, MemorySecret, Run, run_to_end};

use super::actors::{ALGORITHM, Door, Issuer, Relying, Token, Verdict, clock};
use super::case::{Case, Chance};

const STEPS: [Step; 4] = [Step::Create, Step::Set, Step::Test, Step::Finish];
const ISSUERS: usize = 3;
/// How often one rotation's steps are tried again before an operator cancels it.
const TRIES: u32 = 5;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A withdrawal, rollback or rotation is due.
    Rotate,
    Rollback,
    Withdraw,
    /// The manager runs this step of its rotation.
    StepOf {
        token: String,
        step: usize,
        tries: u32,
    },
    /// An attempt goes on to its next store call.
    Goes(usize),
    Cut {
        issuer: usize,
        cut: bool,
    },
    DoorCut(bool),
    DoorDown(bool),
    Issue(usize),
    /// Verifiers verify what is alive.
    Verify,
    /// A verifier fetches early.
    Refresh(usize),
}

enum Outcome {
    Step(Result<(), RotationError>),
    Withdrawn(Box<Result<WithdrawalReport, RotationError>>),
}

/// A Lambda invocation under way.
struct Attempt {
    run: Option<Run<'static, Outcome>>,
    /// The rotation that waits for it: version, step and tries so far.
    managed: Option<(String, usize, u32)>,
    started: u64,
    calls: u64,
    crashes_at: Option<u64>,
}

/// A stored key set, from when it was stored.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) since: u64,
    pub(super) set: KeySet,
}

/// A verifier's refusal.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) at: u64,
    pub(super) verifier: String,
    pub(super) token: Token,
    pub(super) why: String,
}

/// What a withdrawal promised.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) started: u64,
    /// When nothing that began before it was still running.
    pub(super) settled: u64,
    pub(super) kids: BTreeSet<Kid>,
    pub(super) report: WithdrawalReport,
}

pub(super) struct World {
    case: Case,
    chance: Chance,
    pub(super) t: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    secret: MemorySecret,
    published: MemoryPublished,
    rotation: Arc<Rotation>,
    rotation_offset: u64,
    attempts: Vec<Attempt>,
    versions: u32,
    issuers: Vec<Issuer>,
    door: Door,
    relying: Vec<Relying>,
    seen_current: Option<String>,
    writes: usize,
    /// When there was a ring for the first time.
    first_at: u64,
    withdrawal: Option<(u64, Withdrawal)>,
    pub(super) tokens: Vec<Token>,
    pub(super) stored: Vec<Stored>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) promises: Vec<Promise>,
    pub(super) first_kids: BTreeSet<Kid>,
    pub(super) rolled_back: bool,
    pub(super) problems: Vec<String>,
    pub(super) finished: u32,
}

impl World {
    /// Runs a case to its end.
    pub(super) fn run(case: &Case) -> Self {
        let mut chance = Chance::new(case.seed);
        let policy = case.policy;
        let secret = MemorySecret::new();
        let published = MemoryPublished::beside(&secret);
        published.set_max_bytes(60_000);
        let mut offset = || if chance.one_in(2) { chance.of(&[0, policy.skew_s]) } else { chance.up_to(policy.skew_s) };
        let rotation = Rotation::new(
            Arc::new(secret.clone()),
            Arc::new(published.clone()),
            Arc::new(LocalKeyMaker),
            vec![ALGORITHM],
            policy,
        );
        let rotation_offset = offset();
        let issuers = (0..ISSUERS).map(|_| Issuer::new(&secret, &published, offset())).collect();
        let door = Door::new(&published, case.door, policy.jwks_max_age_s, offset());
        let slower_s = case.lies.slower_verifiers_s;
        let relying = case.verifiers.iter().map(|one| Relying::new(one.clone(), offset(), slower_s)).collect();
        let mut world = Self {
            case: case.clone(),
            chance,
            t: 0,
            events: BinaryHeap::new(),
            secret,
            published,
            rotation: Arc::new(rotation),
            rotation_offset,
            attempts: Vec::new(),
            versions: 0,
            issuers,
            door,
            relying,
            seen_current: None,
            writes: 0,
            first_at: 0,
            withdrawal: None,
            tokens: Vec::new(),
            stored: Vec::new(),
            refusals: Vec::new(),
            promises: Vec::new(),
            first_kids: BTreeSet::new(),
            rolled_back: false,
            problems: Vec::new(),
            finished: 0,
        };
        world.schedule();
        while let Some(Reverse((t, _, event))) = world.events.pop() {
            world.t = t;
            world.happen(event);
        }
        world
    }

    fn at(&mut self, t: u64, event: Event) {
        // Events of one instant come in any order.
        let order = self.chance.next();
        self.events.push(Reverse((t, order, event)));
    }

    /// Everything that does not follow from something else.
    fn schedule(&mut self) {
        let (policy, troubles) = (self.case.policy, self.case.troubles);
        let end = 4 * policy.interval_s + policy.retention_s;
        for turn in 0..4 {
            let late = if turn > 0 && troubles.delays && self.chance.one_in(2) {
                self.chance.up_to(policy.interval_s)
            } else {
                0
            };
            let at = turn * policy.interval_s + late;
            self.at(at, Event::Rotate);
            if troubles.outages && turn > 0 {
                for issuer in 0..ISSUERS {
                    if self.chance.one_in(2) {
                        let from = at.saturating_sub(self.chance.of(&[0, 1, 5, 300]));
                        let length = self.chance.of(&[policy.lead_s / 2, policy.lead_s]) + self.chance.up_to(600);
                        self.at(from, Event::Cut { issuer, cut: true });
                        self.at(from + length, Event::Cut { issuer, cut: false });
                    }
                }
                // What a withdrawal reports is for doors that work.
                if troubles.withdrawal {
                    continue;
                }
                let stale = self.case.door.stale_if_error_s;
                let from = at.saturating_sub(self.chance.up_to(5));
                self.at(from, Event::DoorCut(true));
                let until = from + stale + self.chance.up_to(60);
                self.at(until, Event::DoorCut(false));
                let from = from + self.chance.up_to(stale);
                self.at(from, Event::DoorDown(true));
                let until = from + self.chance.up_to(stale);
                self.at(until, Event::DoorDown(false));
            }
        }
        for _ in 0..24 {
            let (at, issuer) = (self.chance.up_to(end), self.chance.up_to(ISSUERS as u64 - 1));
            self.at(at, Event::Issue(usize::try_from(issuer).unwrap()));
            let verifier = self.chance.up_to(self.relying.len() as u64 - 1);
            let at = self.chance.up_to(end);
            self.at(at, Event::Refresh(usize::try_from(verifier).unwrap()));
        }
        if troubles.rollback {
            let at = policy.interval_s + self.chance.up_to(2 * policy.interval_s + policy.lead_s);
            self.at(at, Event::Rollback);
        }
        if troubles.withdrawal {
            // Near a rotation, or anywhere.
            let rotation = self.chance.of(&[1, 2, 3]) * policy.interval_s;
            let near = self.chance.of(&[0, 1, 60, 600, policy.lead_s]);
            let anywhere = policy.interval_s + self.chance.up_to(3 * policy.interval_s);
            let at = if self.chance.one_in(3) { anywhere } else { rotation + near };
            self.at(at, Event::Withdraw);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Rotate => self.rotate(),
            Event::Rollback => self.roll_back(),
            Event::Withdraw => self.withdraw(0),
            Event::StepOf { token, step, tries } => self.step(&token, step, tries),
            Event::Goes(attempt) => self.goes(attempt),
            Event::Cut { issuer, cut } => self.issuers[issuer].set_cut(cut, self.t),
            Event::DoorCut(cut) => self.door.set_cut(cut),
            Event::DoorDown(down) => self.door.down = down,
            Event::Issue(issuer) => self.issue(issuer),
            Event::Verify => self.verify(),
            Event::Refresh(verifier) => self.relying[verifier].refresh(&mut self.door, self.t),
        }
    }

    /// What Secrets Manager does when a rotation is due.
    fn rotate(&mut self) {
        self.versions += 1;
        let token = format!("v{}", self.versions);
        let token = match self.secret.start_rotation(&token) {
            Ok(()) => token,
            Err(pending) => pending,
        };
        self.at(self.t, Event::StepOf { token, step: 0, tries: 0 });
    }

    fn step(&mut self, token: &str, step: usize, tries: u32) {
        if tries > TRIES {
            // An operator cancels the rotation: the next one starts anew.
            if self.secret.version_with(CURRENT).as_deref() != Some(token) {
                let _ = run_to_end(self.secret.drop_stage(PENDING, token));
            }
            return;
        }
        self.attempt(token, step, Some((token.to_owned(), step, tries)));
        if self.case.troubles.repeats {
            if self.chance.one_in(3) {
                self.attempt(token, step, None);
            }
            if self.chance.one_in(4) {
                let earlier = usize::try_from(self.chance.up_to(step as u64)).unwrap();
                self.attempt(token, earlier, None);
            }
        }
    }

    fn attempt(&mut self, token: &str, step: usize, managed: Option<(String, usize, u32)>) {
        let (rotation, now) = (Arc::clone(&self.rotation), clock(self.t, self.rotation_offset));
        let token = token.to_owned();
        let run = async move { Outcome::Step(rotation.run(STEPS[step], &token, now).await) };
        let crashes = self.case.troubles.crashes && self.chance.one_in(if managed.is_some() { 4 } else { 2 });
        self.start(Box::pin(run), managed, crashes);
    }

    fn start(&mut self, run: Run<'static, Outcome>, managed: Option<(String, usize, u32)>, crashes: bool) {
        let crashes_at = crashes.then(|| self.chance.up_to(8));
        self.attempts.push(Attempt { run: Some(run), managed, started: self.t, calls: 0, crashes_at });
        self.at(self.t, Event::Goes(self.attempts.len() - 1));
    }

    fn goes(&mut self, index: usize) {
        if self.case.troubles.crashes && self.chance.one_in(60) {
            // The store's answer is lost, or it never came.
            let next = self.secret.script().count();
            self.secret.script().fail(next, if self.chance.one_in(2) { Fault::After } else { Fault::Before });
        }
        let attempt = &mut self.attempts[index];
        let Some(run) = &mut attempt.run else { return };
        if attempt.crashes_at == Some(attempt.calls) {
            attempt.run = None;
            return self.ended(index, None);
        }
        attempt.calls += 1;
        let outcome = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.note_stores();
        match outcome {
            Poll::Ready(outcome) => {
                self.attempts[index].run = None;
                self.ended(index, Some(outcome));
            }
            Poll::Pending => {
                let pause = if self.chance.one_in(4) { self.chance.up_to(20) } else { 0 };
                let latest = self.attempts[index].started + ROTATION_STEP_S;
                self.at((self.t + pause).min(latest), Event::Goes(index));
            }
        }
    }

    /// An attempt ended: with an outcome, or by a crash.
    fn ended(&mut self, index: usize, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Withdrawn(outcome)) => {
                let tries = self.attempts[index].managed.as_ref().map_or(0, |(_, _, tries)| *tries);
                self.withdrawal_ended(tries, *outcome);
            }
            Some(Outcome::Step(Ok(()))) => {
                let Some((token, step, _)) = self.attempts[index].managed.clone() else { return };
                if step == 3 {
                    self.finished += 1;
                    return;
                }
                let pause = self.pause();
                self.at(self.t + pause, Event::StepOf { token, step: step + 1, tries: 0 });
            }
            Some(Outcome::Step(Err(error))) => {
                let reasons = self.case.troubles;
                let any =
                    reasons.crashes || reasons.delays || reasons.repeats || reasons.rollback || reasons.withdrawal;
                if !any {
                    self.problems.push(format!("{}: a step failed without a reason: {error}", self.t));
                }
                // A rotation that was given up is not tried again; the next one is another.
                if !matches!(error, RotationError::Lost { .. } | RotationError::NotPending { .. }) {
                    self.again(index);
                }
            }
            None => self.again(index),
        }
    }

    fn again(&mut self, index: usize) {
        match self.attempts[index].managed.clone() {
            Some((token, _, tries)) if token == "withdraw" => self.withdraw(tries + 1),
            // Secrets Manager begins again with the first step.
            Some((token, step, tries)) => {
                let step = if self.chance.one_in(2) { 0 } else { step };
                let pause = self.pause().max(1);
                self.at(self.t + pause, Event::StepOf { token, step, tries: tries + 1 });
            }
            None => {}
        }
    }

    fn pause(&mut self) -> u64 {
        if !self.case.troubles.delays || !self.chance.one_in(3) {
            return self.chance.up_to(1);
        }
        let lead_s = self.case.policy.lead_s;
        self.chance.of(&[5, 60, 299, 300, 600, 601, 3_600, lead_s / 2, lead_s, 2 * lead_s])
    }

    fn roll_back(&mut self) {
        let Some(current) = self.secret.version_with(CURRENT) else { return };
        let older: Vec<String> = (1..=self.versions)
            .map(|number| format!("v{number}"))
            .filter(|version| *version != current && self.secret.value(version).is_some())
            .collect();
        if older.is_empty() {
            return;
        }
        let chosen = usize::try_from(self.chance.up_to(older.len() as u64 - 1)).unwrap();
        self.secret.operator_moves(CURRENT, &older[chosen]);
        self.rolled_back = true;
        self.note_stores();
    }

    /// An operator withdraws a key, or all; and the same again until it is done.
    fn withdraw(&mut self, tries: u32) {
        let Some(ring) = self.current_ring() else { return };
        let kids: Vec<Kid> = ring.key_versions().iter().map(|key| key.kid().clone()).collect();
        let which = usize::try_from(self.chance.up_to(kids.len() as u64)).unwrap();
        let chosen = kids.get(which).map_or(Withdrawal::All, |kid| Withdrawal::Key(kid.clone()));
        let (_, withdrawal) = self.withdrawal.get_or_insert((self.t, chosen)).clone();
        self.versions += 1;
        let token = format!("v{}", self.versions);
        let (rotation, now) = (Arc::clone(&self.rotation), clock(self.t, self.rotation_offset));
        let run = async move { Outcome::Withdrawn(Box::new(rotation.withdraw(&withdrawal, &token, now).await)) };
        let crashes = self.case.troubles.crashes && self.chance.one_in(3);
        self.start(Box::pin(run), Some(("withdraw".to_owned(), 0, tries)), crashes);
    }

    fn withdrawal_ended(&mut self, tries: u32, outcome: Result<WithdrawalReport, RotationError>) {
        let started = self.withdrawal.as_ref().map_or(self.t, |(started, _)| *started);
        match outcome {
            Ok(report) => {
                let kids = self.current_ring().map(|ring| ring.withdrawn().cloned().collect()).unwrap_or_default();
                // No invocation outlives its time; those under way now end by then.
                let settled = self.t + ROTATION_STEP_S;
                self.promises.push(Promise { started, settled, kids, report });
                self.withdrawal = None;
                if self.case.troubles.rollback && self.promises.len() < 3 {
                    self.undone_by_hand();
                }
            }
            // Overtaken by the rotation that dropped the key, its retention over: there is nothing to withdraw from.
            Err(RotationError::Ring { error: RingError::Invalid(_), .. }) if self.is_gone() => {}
            // Overtaken by a rotation, or a store failed: the operator runs it again.
            Err(_) if tries < 4 * TRIES => self.withdraw(tries + 1),
            Err(error) => self.problems.push(format!("{}: the withdrawal does not get through: {error}", self.t)),
        }
    }

    /// Somebody makes an older version current again after a withdrawal, and may then see that another key must go.
    fn undone_by_hand(&mut self) {
        let policy = self.case.policy;
        let pause = self.chance.of(&[1, 60, 301, policy.lead_s / 2, policy.lead_s, policy.interval_s]);
        self.at(self.t + pause, Event::Rollback);
        if self.chance.one_in(2) {
            let pause = pause + self.chance.of(&[0, 1, 60, policy.lead_s]);
            self.at(self.t + pause, Event::Withdraw);
        }
    }

    /// Whether the key to withdraw is in no ring any more.
    fn is_gone(&self) -> bool {
        match (&self.withdrawal, self.current_ring()) {
            (Some((_, Withdrawal::Key(kid))), Some(ring)) => ring.get(kid).is_none(),
            _ => false,
        }
    }

    fn current_ring(&self) -> Option<KeyRing> {
        let version = self.secret.version_with(CURRENT)?;
        Some(KeyRing::parse(&self.secret.value(&version)?).unwrap())
    }

    /// Writes down what is stored now, and comes back when it matters.
    fn note_stores(&mut self) {
        if self.published.writes() > self.writes {
            self.writes = self.published.writes();
            let set = KeySet::parse(self.published.text().unwrap().as_bytes()).unwrap();
            self.stored.push(Stored { since: self.t, set });
        }
        let current = self.secret.version_with(CURRENT);
        if current == self.seen_current {
            return;
        }
        self.seen_current = current;
        let Some(ring) = self.current_ring() else { return };
        if self.first_kids.is_empty() {
            self.first_at = self.t;
            self.first_kids = ring.key_versions().iter().map(|key| key.kid().clone()).collect();
        }
        let policy = self.case.policy;
        let starts =
            ring.key_versions().iter().filter_map(token_jose::KeyVersion::signs_from).map(super::actors::world_time);
        let newest = starts.max().unwrap_or(0);
        let mut moments = vec![self.t, self.t + 1, self.t + 299, self.t + 300];
        moments.push(self.t + policy.lead_s / 2 + self.chance.up_to(2));
        for after in [0, 1, policy.skew_s, 300, policy.lead_s / 2] {
            moments.extend([(newest + after).saturating_sub(policy.skew_s), newest + after]);
        }
        let t = self.t;
        for moment in moments.into_iter().filter(|moment| *moment >= t) {
            let issuer = usize::try_from(self.chance.up_to(ISSUERS as u64 - 1)).unwrap();
            self.at(moment, Event::Issue(issuer));
        }
    }

    fn issue(&mut self, issuer: usize) {
        let policy = self.case.policy;
        let longer = self.case.lies.longer_tokens_s;
        let ttl_s = if self.chance.one_in(2) {
            policy.max_token_ttl_s
        } else {
            1 + self.chance.up_to(policy.max_token_ttl_s - 1)
        };
        let one = &self.issuers[issuer];
        match one.issue(self.t, ttl_s + longer) {
            Ok(token) => {
                let end = token.exp;
                for moment in [self.t, self.t + ttl_s / 2, end.saturating_sub(policy.skew_s + 1), end - 1] {
                    self.at(moment.max(self.t), Event::Verify);
                }
                self.tokens.push(token);
            }
            Err(error) => {
                // Who cannot read for too long may refuse; so may all while nothing is published, and after an operator's
                // rollback or a withdrawal.
                let (cut, since) = (one.is_cut(), self.t - one.changed_at);
                let unreachable = cut || (one.changed_at > 0 && since <= 30);
                // The first key signs from the moment it is made; to a clock that is behind, that is yet to come.
                let starting = self.finished == 0 || self.t <= self.first_at + policy.skew_s;
                let excused = self.rolled_back || self.case.troubles.withdrawal || starting || unreachable;
                if !excused {
                    self.problems.push(format!("{}: issuer {issuer} refuses without a reason: {error}", self.t));
                }
            }
        }
    }

    fn verify(&mut self) {
        let alive: Vec<Token> = self.tokens.iter().rev().filter(|token| token.exp > self.t).take(4).cloned().collect();
        for token in alive {
            for verifier in &mut self.relying {
                if let Some(Verdict::Refused(why)) = verifier.verify(&token, &mut self.door, self.t) {
                    let verifier = verifier.name().to_owned();
                    self.refusals.push(Refusal { at: self.t, verifier, token: token.clone(), why });
                }
            }
        }
    }
}
