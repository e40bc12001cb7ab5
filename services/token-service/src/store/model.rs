//! An exhaustive search through everything that two replicas, a client, a thief and an administrator can do with one refresh
//! family, in every order: requests are looked up, signed and committed in separate steps, answers get lost, replicas crash
//! between signing and committing, time passes, the family or the user is revoked at any point. The decision is the product's
//! own [`FamilyState::refresh`]; each [`Mutant`] breaks one part of it and shows which promise that part keeps.

use std::collections::{HashSet, VecDeque};

use super::decide::{Asked, Decision, FamilyState, UserState};
use super::family::{Dead, FamilyKind};
use super::ids::{Epoch, Standing, TokenId, UserKey};

/// Tokens are numbers here: 0 is the first, each proposal has the next.
type Token = u8;

const CLIENT: [u8; 32] = [1; 32];
const THIEF: [u8; 32] = [2; 32];
/// Milliseconds that a step in time takes: two are within the window, three are not.
const TICK: i64 = 14_000;
const MOST_TOKENS: u8 = 3;
const MOST_TICKS: u8 = 3;

fn hash(token: Token) -> [u8; 32] {
    [token + 10; 32]
}

fn access(token: Token) -> TokenId {
    TokenId::new(&UserKey::of("model"), [token; 16])
}

/// A part of the decision that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// The commit does not look at the state again: check-then-act in two steps.
    BlindCommit,
    /// A revoked family is only noticed by the look-up.
    CommitIgnoresRevocation,
    /// The revocation of a user is not looked at.
    IgnoresUser,
    /// Nobody asks who presents the token.
    IgnoresBinding,
    /// The window never ends.
    EndlessWindow,
    /// The answer is given as often as it is asked for.
    EndlessAnswers,
    /// A successor that was seen does not close the window.
    IgnoresEvidence,
    /// A used token is refused, and nothing more.
    ForgivesTheft,
    /// A retry makes a new answer instead of giving the former one again.
    RetryRotates,
    /// A token from before the former one is taken for the former one.
    AnyOldToken,
    /// Every retry is theft: no answer may be lost.
    NoReanswers,
}

/// A request on its way through a replica. A replica handles one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Replica {
    Idle,
    /// Looked up as live, and signed: the commit is next.
    Signed {
        token: Token,
        thief: bool,
        next: Token,
    },
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    family: Snapshot,
    /// Revocations of the user.
    generation: u8,
    ticks: u8,
    proposed: u8,
    replicas: [Replica; 2],
    /// The client's live token: the newest that arrived.
    client: Token,
    /// What the client asked with, while it does not know the answer.
    pending: Option<Token>,
    /// What the thief has.
    stolen: Option<Token>,
    /// Which token each rotation led to, as the store said it.
    successor: [Option<Token>; MOST_TOKENS as usize + 1],
    /// Which tokens, or the access tokens beside them, have been seen in use.
    evidence: [bool; MOST_TOKENS as usize + 1],
    /// How often each token was answered again.
    again: [u8; MOST_TOKENS as usize + 1],
}

/// [`FamilyState`] as something that can be compared and hashed.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Snapshot {
    revoked: bool,
    current: Option<[u8; 32]>,
    former: Option<super::decide::Former>,
}

/// A promise that did not hold, and the way there.
#[derive(Debug)]
struct Broken {
    promise: &'static str,
    way: Vec<String>,
}

struct Search {
    mutant: Mutant,
    /// Clients that may be answered again.
    may_reanswer: bool,
    /// The only promise to look at; all when there is none.
    watched: Option<&'static str>,
}

const ONE_SUCCESSOR: &str = "never two successors of one token";
const DEAD_IS_DEAD: &str = "a revoked family mints nothing";
const SAME_ANSWER: &str = "a retry in the window is given the same answer";
const ANSWER_IS_LIVE: &str = "what is answered is live";
const OWN_ANSWER: &str = "nobody but the client is answered";
const REUSE_REVOKES: &str = "any other reuse revokes the family at once";
const EVIDENCE_CLOSES: &str = "evidence closes the window";
const LIVE_IS_GOOD: &str = "the live token of the right client is good";

fn standing(generation: u8) -> Standing {
    Standing { epoch: Epoch::from_bytes([7; 16]), generation: u64::from(generation) }
}

impl World {
    fn start() -> Self {
        Self {
            family: Snapshot { revoked: false, current: Some(hash(0)), former: None },
            generation: 0,
            ticks: 0,
            proposed: 0,
            replicas: [Replica::Idle; 2],
            client: 0,
            pending: None,
            stolen: None,
            successor: [None; MOST_TOKENS as usize + 1],
            evidence: [false; MOST_TOKENS as usize + 1],
            again: [0; MOST_TOKENS as usize + 1],
        }
    }

    fn now(&self) -> i64 {
        i64::from(self.ticks) * TICK
    }

    fn state(&self) -> FamilyState {
        FamilyState {
            user: UserKey::of("model"),
            standing: standing(0),
            kind: FamilyKind::Refresh,
            binding: CLIENT,
            expires: i64::MAX / 2,
            kept: i64::MAX / 2,
            revoked: self.family.revoked,
            current: self.family.current,
            former: self.family.former.clone(),
            latest: None,
        }
    }

    fn is_dead(&self) -> bool {
        self.family.revoked || self.generation > 0
    }
}

impl Search {
    /// The product's decision, less what the mutant leaves out.
    fn decide(&self, world: &mut World, token: Token, thief: bool, next: Option<Token>) -> Decision {
        let mut state = world.state();
        let mut now = world.now();
        let mut generation = world.generation;
        let asked = Asked {
            hash: hash(token),
            binding: if thief && self.mutant != Mutant::IgnoresBinding { THIEF } else { CLIENT },
            scope: [0; 32],
            may_reanswer: self.may_reanswer && self.mutant != Mutant::NoReanswers,
        };
        let proposed = next.map(hash);
        let was_revoked = state.revoked;
        match self.mutant {
            Mutant::BlindCommit if next.is_some() => state.current = Some(asked.hash),
            Mutant::CommitIgnoresRevocation if next.is_some() && state.revoked => {
                state.revoked = false;
                state.current = Some(asked.hash);
            }
            Mutant::IgnoresUser => generation = 0,
            Mutant::EndlessWindow => {
                if let Some(former) = &state.former {
                    now = former.at;
                }
            }
            Mutant::EndlessAnswers => {
                if let Some(former) = &mut state.former {
                    former.answers = 0;
                }
            }
            Mutant::IgnoresEvidence => {
                if let Some(former) = &mut state.former {
                    former.seen = false;
                }
            }
            Mutant::RetryRotates
                if next.is_some() && state.former.as_ref().is_some_and(|former| former.hash == asked.hash) =>
            {
                state.current = Some(asked.hash);
            }
            Mutant::AnyOldToken => {
                let live = state.current == Some(asked.hash);
                if let Some(former) = state.former.as_mut().filter(|_| !live) {
                    former.hash = asked.hash;
                }
            }
            _ => {}
        }
        let user = UserState { standing: standing(generation), kept: i64::MAX / 2 };
        let proposed = proposed.as_ref().zip(next.map(access));
        let decision = state.refresh(Some(&user), &asked, proposed, now);
        if self.mutant == Mutant::ForgivesTheft && decision == Decision::Theft {
            return decision;
        }
        if self.mutant == Mutant::CommitIgnoresRevocation {
            state.revoked |= was_revoked;
        }
        world.family = Snapshot { revoked: state.revoked, current: state.current, former: state.former };
        decision
    }

    fn broken(&self, promise: &'static str) -> Result<(), &'static str> {
        if self.watched.is_none_or(|watched| watched == promise) { Err(promise) } else { Ok(()) }
    }

    /// Everything that can happen next.
    fn steps(&self, world: &World) -> Result<Vec<(String, World)>, &'static str> {
        let mut steps = Vec::new();
        for replica in 0..2 {
            match world.replicas[replica] {
                Replica::Idle => {
                    // The client asks with its live token, or asks again with the one it has no answer for.
                    let token = world.pending.unwrap_or(world.client);
                    self.ask(world, replica, token, false, &mut steps)?;
                    if let Some(stolen) = world.stolen {
                        self.ask(world, replica, stolen, true, &mut steps)?;
                    }
                }
                Replica::Signed { token, thief, next } => {
                    self.commit(world, replica, (token, thief, next), &mut steps)?;
                    let mut crashed = world.clone();
                    crashed.replicas[replica] = Replica::Idle;
                    steps.push((format!("replica {replica} crashes before it commits"), crashed));
                }
            }
        }
        if world.stolen.is_none() {
            let mut stolen = world.clone();
            stolen.stolen = Some(world.client);
            steps.push((format!("token {} is stolen", world.client), stolen));
        }
        if world.ticks < MOST_TICKS {
            let mut later = world.clone();
            later.ticks += 1;
            steps.push(("14 s pass".to_owned(), later));
        }
        if !world.family.revoked {
            let mut revoked = world.clone();
            let mut state = world.state();
            state.revoke();
            revoked.family = Snapshot { revoked: true, current: None, former: None };
            steps.push(("the family is revoked".to_owned(), revoked));
        }
        if world.generation == 0 {
            let mut revoked = world.clone();
            revoked.generation = 1;
            steps.push(("the user is revoked".to_owned(), revoked));
        }
        // The access token beside the client's newest refresh token is used.
        let newest = world.client;
        if world.pending.is_none() && newest > 0 && !world.evidence[newest as usize] {
            let mut used = world.clone();
            let mut state = world.state();
            state.witness(&access(newest));
            used.family.former = state.former;
            used.evidence[newest as usize] = true;
            steps.push((format!("access token {newest} is used"), used));
        }
        Ok(steps)
    }

    /// A request arrives and is looked up; a live token is signed for at once.
    fn ask(
        &self,
        world: &World,
        replica: usize,
        token: Token,
        thief: bool,
        steps: &mut Vec<(String, World)>,
    ) -> Result<(), &'static str> {
        let who = if thief { "the thief" } else { "the client" };
        let what = format!("{who} asks replica {replica} with token {token}");
        let mut asked = world.clone();
        if !thief {
            asked.pending = Some(token);
        }
        let decision = self.decide(&mut asked, token, thief, None);
        self.hold(world, &asked, token, thief, None, decision)?;
        if decision == Decision::Current {
            asked.evidence[token as usize] = true;
        }
        match decision {
            Decision::Current if world.proposed < MOST_TOKENS => {
                asked.proposed += 1;
                asked.replicas[replica] = Replica::Signed { token, thief, next: asked.proposed };
                steps.push((what, asked));
            }
            Decision::ReAnswer => self.answer(&what, world, asked, token, thief, steps)?,
            _ => steps.push((what, asked)),
        }
        Ok(())
    }

    fn commit(
        &self,
        world: &World,
        replica: usize,
        (token, thief, next): (Token, bool, Token),
        steps: &mut Vec<(String, World)>,
    ) -> Result<(), &'static str> {
        let what = format!("replica {replica} commits {token} -> {next}");
        let mut committed = world.clone();
        committed.replicas[replica] = Replica::Idle;
        let decision = self.decide(&mut committed, token, thief, Some(next));
        self.hold(world, &committed, token, thief, Some(next), decision)?;
        match decision {
            Decision::Rotated => {
                if committed.successor[token as usize].is_some_and(|before| before != next) {
                    self.broken(ONE_SUCCESSOR)?;
                }
                committed.successor[token as usize] = Some(next);
                self.answer(&what, world, committed, token, thief, steps)?;
            }
            Decision::ReAnswer => self.answer(&what, world, committed, token, thief, steps)?,
            _ => steps.push((what, committed)),
        }
        Ok(())
    }

    /// The answer arrives, or is lost.
    fn answer(
        &self,
        what: &str,
        before: &World,
        after: World,
        token: Token,
        thief: bool,
        steps: &mut Vec<(String, World)>,
    ) -> Result<(), &'static str> {
        if before.is_dead() {
            self.broken(DEAD_IS_DEAD)?;
        }
        if thief {
            self.broken(OWN_ANSWER)?;
        }
        let mut after = after;
        if before.successor[token as usize].is_some() {
            after.again[token as usize] += 1;
        }
        // The answer that the store keeps is the one of its last rotation.
        let successor = after.successor[token as usize];
        let Some(successor) = successor.filter(|next| after.family.current == Some(hash(*next))) else {
            return self.broken(ANSWER_IS_LIVE);
        };
        let mut arrived = after.clone();
        if arrived.pending == Some(token) {
            arrived.client = successor;
            arrived.pending = None;
        }
        steps.push((format!("{what}, and the answer arrives"), arrived));
        steps.push((format!("{what}, and the answer is lost"), after));
        Ok(())
    }

    /// The promises about a decision.
    fn hold(
        &self,
        before: &World,
        after: &World,
        token: Token,
        thief: bool,
        next: Option<Token>,
        decision: Decision,
    ) -> Result<(), &'static str> {
        let live = before.family.current == Some(hash(token));
        let former = before.family.former.as_ref().filter(|former| former.hash == hash(token));
        if before.is_dead() {
            let stays = matches!(decision, Decision::Dead(Dead::Revoked | Dead::UserRevoked))
                && after.family.revoked == before.family.revoked;
            return if stays { Ok(()) } else { self.broken(DEAD_IS_DEAD) };
        }
        // Written down a second time, in the words of the contract.
        let retry = !thief
            && self.may_reanswer
            && former.is_some_and(|former| before.now() - former.at < 30_000 && before.again[token as usize] < 3);
        let seen =
            former.is_some() && before.successor[token as usize].is_some_and(|next| before.evidence[next as usize]);
        let expected = match (live && !thief, retry && !seen) {
            (true, _) if next.is_some() => decision == Decision::Rotated,
            (true, _) => decision == Decision::Current,
            (_, true) => decision == Decision::ReAnswer,
            _ => decision == Decision::Theft && after.family.revoked,
        };
        match (expected, live && !thief, retry && !seen) {
            (true, ..) => Ok(()),
            (_, true, _) => self.broken(LIVE_IS_GOOD),
            (_, _, true) => self.broken(SAME_ANSWER),
            _ if seen && !thief => self.broken(EVIDENCE_CLOSES),
            _ => self.broken(REUSE_REVOKES),
        }
    }

    /// Every reachable world, breadth first: the way to a broken promise is a shortest one.
    fn run(&self) -> Result<usize, Broken> {
        let mut seen = HashSet::new();
        let mut worlds = vec![(World::start(), 0_usize, String::new())];
        let mut queue = VecDeque::from([0_usize]);
        seen.insert(World::start());
        while let Some(at) = queue.pop_front() {
            let world = worlds[at].0.clone();
            let steps = self.steps(&world).map_err(|promise| {
                let mut way = Vec::new();
                let mut here = at;
                while here != 0 {
                    way.push(worlds[here].2.clone());
                    here = worlds[here].1;
                }
                way.reverse();
                Broken { promise, way }
            })?;
            for (what, next) in steps {
                if seen.insert(next.clone()) {
                    queue.push_back(worlds.len());
                    worlds.push((next, at, what));
                }
            }
        }
        Ok(seen.len())
    }
}

#[test]
fn the_promises_hold_in_every_order_of_events() {
    for may_reanswer in [true, false] {
        let search = Search { mutant: Mutant::None, may_reanswer, watched: None };
        let worlds = search.run().unwrap_or_else(|broken| panic!("{broken:#?}"));
        println!("{worlds} worlds, re-answers {may_reanswer}");
        assert!(worlds > 10_000, "the search goes somewhere: {worlds}");
    }
}

/// Each promise is watched alone, and broken by leaving out the part that keeps it.
#[test]
fn each_promise_can_be_broken() {
    for (mutant, promise) in [
        (Mutant::BlindCommit, ONE_SUCCESSOR),
        (Mutant::BlindCommit, SAME_ANSWER),
        (Mutant::CommitIgnoresRevocation, DEAD_IS_DEAD),
        (Mutant::IgnoresUser, DEAD_IS_DEAD),
        (Mutant::IgnoresBinding, OWN_ANSWER),
        (Mutant::IgnoresBinding, REUSE_REVOKES),
        (Mutant::EndlessWindow, REUSE_REVOKES),
        (Mutant::EndlessAnswers, REUSE_REVOKES),
        (Mutant::IgnoresEvidence, EVIDENCE_CLOSES),
        (Mutant::ForgivesTheft, REUSE_REVOKES),
        (Mutant::RetryRotates, ONE_SUCCESSOR),
        (Mutant::RetryRotates, SAME_ANSWER),
        (Mutant::AnyOldToken, ANSWER_IS_LIVE),
        (Mutant::NoReanswers, SAME_ANSWER),
    ] {
        let search = Search { mutant, may_reanswer: true, watched: Some(promise) };
        match search.run() {
            Err(broken) => println!("{mutant:?}: {} after {:#?}", broken.promise, broken.way),
            Ok(worlds) => panic!("{mutant:?} does not break {promise:?} in {worlds} worlds"),
        }
    }
}
