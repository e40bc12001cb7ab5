//! The memory store and the Lua scripts say the same: random histories on both, with one clock.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use token_service::store::{
    Check, Child, Epoch, Family, FamilyKind, Presented, Proposal, Rate, RedisStore, Standing, Store, Target, TokenId,
    UserKey,
};
use token_testkit::{Redis, TestClock};

use super::fixture::{after, clock, family, hash, id, memory, redis, single};

/// One step of a history. Numbers choose among what there is, modulo how many.
#[derive(Clone, Debug)]
enum Step {
    Standing { user: usize, until: i64 },
    Open { user: usize, parent: bool, bound: bool, seconds: i64, again: bool },
    Load(usize),
    Refresh(Refresh),
    Renew { family: usize, seconds: i64, threshold: u64, again: bool },
    Due,
    Check { user: usize, token: usize, family: Option<usize>, standing: Option<usize>, rate: u32 },
    Revoke { target: RevokeTarget, until: i64 },
    FirstUse { key: usize, proof: usize, until: i64 },
    Wait(i64),
    Emptied,
}

#[derive(Clone, Debug)]
struct Refresh {
    family: usize,
    /// Counted back from the newest proposal of the family.
    token: usize,
    /// A token of another family.
    foreign: bool,
    client: bool,
    key: bool,
    scope: usize,
    may_reanswer: bool,
    propose: Propose,
}

#[derive(Clone, Copy, Debug)]
enum Propose {
    Nothing,
    New,
    Again,
}

#[derive(Clone, Debug)]
enum RevokeTarget {
    Token(usize),
    Family(usize),
    FamilyAsToken(usize),
    User(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seconds = || prop_oneof![Just(1_i64), Just(20), Just(40), Just(600), Just(3600)];
    let until = || prop_oneof![Just(-100_i64), Just(0), Just(30), Just(600), Just(5000)];
    let pick = || 0_usize..4;
    let refresh = (
        (pick(), prop_oneof![4 => Just(0_usize), 4 => Just(1), 1 => Just(2), 1 => Just(3)]),
        (prop::bool::weighted(0.04), prop::bool::weighted(0.94), prop::bool::weighted(0.94)),
        (prop_oneof![9 => Just(0_usize), 1 => Just(1)], prop::bool::weighted(0.9)),
        prop_oneof![2 => Just(Propose::Nothing), 4 => Just(Propose::New), 1 => Just(Propose::Again)],
    );
    let refresh = refresh.prop_map(|((family, token), (foreign, client, key), (scope, may_reanswer), propose)| {
        Step::Refresh(Refresh { family, token, foreign, client, key, scope, may_reanswer, propose })
    });
    let refresh = refresh.boxed();
    let target = prop_oneof![
        pick().prop_map(RevokeTarget::Token),
        pick().prop_map(RevokeTarget::Family),
        pick().prop_map(RevokeTarget::FamilyAsToken),
        (0_usize..2).prop_map(RevokeTarget::User),
    ];
    // One family, refreshed and refreshed again: what long histories rarely come to.
    let closely = (
        any::<bool>(),
        prop::collection::vec(
            prop_oneof![3 => refresh.clone(), 2 => prop_oneof![Just(2_i64), Just(12), Just(17), Just(20), Just(29)].prop_map(Step::Wait)],
            5..25,
        ),
    );
    let closely = closely.prop_map(|(bound, mut steps)| {
        steps.insert(0, Step::Open { user: 0, parent: false, bound, seconds: 3600, again: false });
        steps
    });
    let step = prop_oneof![
        2 => (0_usize..2, until()).prop_map(|(user, until)| Step::Standing { user, until }),
        4 => (0_usize..2, any::<bool>(), any::<bool>(), seconds(), prop::bool::weighted(0.1))
            .prop_map(|(user, parent, bound, seconds, again)| Step::Open { user, parent, bound, seconds, again }),
        2 => pick().prop_map(Step::Load),
        14 => refresh.clone(),
        4 => (pick(), seconds(), prop_oneof![Just(0_u64), Just(30), Just(1000)], prop::bool::weighted(0.2))
            .prop_map(|(family, seconds, threshold, again)| Step::Renew { family, seconds, threshold, again }),
        1 => Just(Step::Due),
        8 => (0_usize..2, 0_usize..8, proptest::option::of(pick()), proptest::option::of(pick()),
              prop_oneof![3 => Just(0_u32), 1 => Just(2), 1 => Just(100_000)])
            .prop_map(|(user, token, family, standing, rate)| Step::Check { user, token, family, standing, rate }),
        2 => (target, until()).prop_map(|(target, until)| Step::Revoke { target, until }),
        2 => (0_usize..2, 0_usize..2, until()).prop_map(|(key, proof, until)| Step::FirstUse { key, proof, until }),
        5 => prop_oneof![Just(1_i64), Just(10), Just(14), Just(20), Just(29), Just(30), Just(31), Just(61), Just(700), Just(4000)].prop_map(Step::Wait),
        1 => prop::bool::weighted(0.2).prop_map(|emptied| if emptied { Step::Emptied } else { Step::Wait(0) }),
    ];
    prop_oneof![prop::collection::vec(step, 1..70), closely]
}

/// A store with what it alone made: epochs, numbered as they appeared, so that both stores' can be compared.
struct Side {
    store: Arc<dyn Store>,
    epochs: HashMap<Epoch, usize>,
    standings: Vec<Standing>,
    families: Vec<Family>,
}

impl Side {
    fn new(store: Arc<dyn Store>) -> Self {
        Self { store, epochs: HashMap::new(), standings: Vec::new(), families: Vec::new() }
    }

    fn numbered(&mut self, standing: Standing) -> String {
        let next = self.epochs.len();
        let epoch = *self.epochs.entry(standing.epoch).or_insert(next);
        format!("epoch {epoch} generation {}", standing.generation)
    }
}

/// What both sides share: the ids, tokens and proposals of the history.
#[derive(Default)]
struct History {
    /// Per family, the refresh tokens that were ever proposed, and the proposals themselves.
    tokens: Vec<Vec<[u8; 32]>>,
    proposals: Vec<Vec<Proposal>>,
    children: Vec<Option<Child>>,
    accesses: Vec<TokenId>,
    next: usize,
}

const USERS: [&str; 2] = ["alice", "bob"];

/// What a step came to on one side, as text.
async fn take(side: &mut Side, step: &Step, prepared: &Prepared, now: Timestamp) -> String {
    let store = Arc::clone(&side.store);
    match step {
        Step::Standing { user, until } => {
            match store.standing(&UserKey::of(USERS[*user]), after(now, *until), now).await {
                Ok(standing) => {
                    side.standings.push(standing);
                    side.numbered(standing)
                }
                Err(error) => format!("{error:?}"),
            }
        }
        Step::Open { again, .. } => {
            let (mut made, current) = prepared.open.clone().unwrap();
            if *again && let Some(last) = side.families.last() {
                return format!("{:?}", store.open(last, prepared.current_of_last, now).await);
            }
            let user = UserKey::of(&made.user);
            made.standing = store.standing(&user, made.expires, now).await.unwrap();
            side.standings.push(made.standing);
            side.families.push(made.clone());
            format!("{:?}", store.open(&made, current, now).await)
        }
        Step::Load(_) => {
            let Some(family) = prepared.family.map(|at| side.families[at].clone()) else { return String::new() };
            match store.load(&family.id, now).await {
                Ok(Ok(loaded)) => {
                    assert_eq!(loaded.family, family);
                    format!("{:?}", loaded.latest)
                }
                other => format!("{other:?}"),
            }
        }
        Step::Refresh(refresh) => {
            let Some(at) = prepared.family else { return String::new() };
            let family = &side.families[at];
            let presented = Presented {
                family: family.id,
                hash: prepared.hash,
                client: if refresh.client { &family.client } else { "somebody else" },
                jkt: if refresh.key { family.jkt.as_deref() } else { Some("another key") },
                scope: hash(["scope", "another scope"][refresh.scope]),
                may_reanswer: refresh.may_reanswer,
            };
            let outcome = store.refresh(&presented, prepared.proposal.as_ref(), now).await;
            // Debug hides the sealed answer, which must be the same too.
            if let Ok(token_service::store::RefreshOutcome::ReAnswer { sealed }) = &outcome {
                return format!("re-answer {}", String::from_utf8_lossy(sealed));
            }
            format!("{outcome:?}")
        }
        Step::Renew { threshold, .. } => {
            let (Some(at), Some(child)) = (prepared.family, prepared.child) else { return String::new() };
            format!("{:?}", store.renew(&side.families[at].id, &child, *threshold, now).await)
        }
        Step::Due => {
            let mut due = store.due(now, 1000).await.unwrap();
            due.sort();
            format!("{due:?}")
        }
        Step::Check { user, standing, rate, .. } => {
            let Some(latest) = side.standings.last() else { return String::new() };
            let standing = standing.map_or(*latest, |at| side.standings[at % side.standings.len()]);
            let check = Check {
                user: &UserKey::of(USERS[*user]),
                standing,
                jti: prepared.jti,
                family: prepared.family.map(|at| side.families[at].id),
                rate: Rate::per_minute(*rate),
            };
            format!("{:?}", store.check(&check, now).await)
        }
        Step::Revoke { until, .. } => match &prepared.target {
            Some(target) => format!("{:?}", store.revoke(target, after(now, *until), now).await),
            None => String::new(),
        },
        Step::FirstUse { key, proof, until } => {
            let outcome = store.first_use(["k1", "k2"][*key], ["p1", "p2"][*proof], after(now, *until), now).await;
            format!("{outcome:?}")
        }
        Step::Wait(_) | Step::Emptied => String::new(),
    }
}

/// What a step means, the same for both sides.
struct Prepared {
    open: Option<(Family, Option<[u8; 32]>)>,
    current_of_last: Option<[u8; 32]>,
    family: Option<usize>,
    hash: [u8; 32],
    proposal: Option<Proposal>,
    child: Option<Child>,
    jti: TokenId,
    target: Option<Target>,
}

impl History {
    fn prepare(&mut self, step: &Step, families: &[Family], now: Timestamp) -> Prepared {
        let count = families.len();
        let choose = |at: usize| (count > 0).then(|| count - 1 - at % count);
        let mut prepared = Prepared {
            open: None,
            current_of_last: self.tokens.last().and_then(|tokens| tokens.first().copied()),
            family: None,
            hash: hash("nothing"),
            proposal: None,
            child: None,
            jti: id(USERS[0]),
            target: None,
        };
        if let Some(last) = families.last().filter(|last| last.kind == FamilyKind::Parent) {
            let _ = last;
            prepared.current_of_last = None;
        }
        match step {
            Step::Open { user, parent, bound, seconds, again } => {
                let kind = if *parent { FamilyKind::Parent } else { FamilyKind::Refresh };
                let nobody = Standing { epoch: "AAAAAAAAAAAAAAAAAAAAAA".parse().unwrap(), generation: 0 };
                let mut made = family(USERS[*user], kind, nobody, now, *seconds);
                made.jkt = bound.then(|| "key".to_owned());
                let current = (!parent).then(|| self.token());
                if !*again || families.is_empty() {
                    self.tokens.push(current.into_iter().collect());
                    self.proposals.push(Vec::new());
                    self.children.push(None);
                }
                prepared.open = Some((made, current));
            }
            Step::Load(at) => prepared.family = choose(*at),
            Step::Refresh(refresh) => {
                let Some(at) = choose(refresh.family) else { return prepared };
                prepared.family = Some(at);
                let from = if refresh.foreign { (at + 1) % count } else { at };
                let tokens = &self.tokens[from];
                if !tokens.is_empty() {
                    prepared.hash = tokens[tokens.len() - 1 - refresh.token % tokens.len()];
                }
                prepared.proposal = match refresh.propose {
                    Propose::Nothing => None,
                    Propose::Again => self.proposals[at].last().cloned(),
                    Propose::New => {
                        let next = self.token();
                        let proposal = Proposal {
                            next,
                            access: id(&families[at].user),
                            sealed: next.map(|b| b'a' + b % 26).to_vec(),
                        };
                        self.tokens[at].push(next);
                        self.proposals[at].push(proposal.clone());
                        self.accesses.push(proposal.access);
                        Some(proposal)
                    }
                };
            }
            Step::Renew { family, seconds, again, .. } => {
                let Some(at) = choose(*family) else { return prepared };
                prepared.family = Some(at);
                let new = Child { id: id(&families[at].user), issued: now, expires: after(now, *seconds), seq: 0 };
                let child = self.children[at].filter(|_| *again).unwrap_or(new);
                self.children[at] = Some(child);
                prepared.child = Some(child);
                self.accesses.push(child.id);
            }
            Step::Check { user, token, family, .. } => {
                prepared.family = family.and_then(choose);
                prepared.jti = match *token {
                    0 => id(USERS[*user]),
                    1 => families.last().map_or_else(|| id(USERS[*user]), |family| family.id),
                    at => self.accesses.iter().rev().nth(at - 2).copied().unwrap_or_else(|| id(USERS[*user])),
                };
            }
            Step::Revoke { target, .. } => {
                prepared.target = match *target {
                    RevokeTarget::User(user) => Some(Target::User(UserKey::of(USERS[user]))),
                    RevokeTarget::Token(at) => self.accesses.iter().rev().nth(at).map(|id| Target::Token(*id)),
                    RevokeTarget::Family(at) => choose(at).map(|at| Target::Family(families[at].id)),
                    RevokeTarget::FamilyAsToken(at) => choose(at).map(|at| Target::Token(families[at].id)),
                };
            }
            Step::Standing { .. } | Step::Due | Step::FirstUse { .. } | Step::Wait(_) | Step::Emptied => {}
        }
        prepared
    }

    fn token(&mut self) -> [u8; 32] {
        self.next += 1;
        hash(&format!("token {}", self.next))
    }
}

async fn compare(steps: &[Step], server: &Redis, store: &Arc<RedisStore>) {
    server.command(&["FLUSHALL"]);
    let clock: TestClock = clock();
    let mut one = Side::new(memory());
    let mut other = Side::new(Arc::clone(store) as Arc<dyn Store>);
    let mut history = History::default();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Wait(seconds) => clock.advance(*seconds),
            Step::Emptied => {
                one.store = memory();
                server.command(&["FLUSHALL"]);
            }
            _ => {
                let prepared = history.prepare(step, &one.families, clock.now());
                let in_memory = take(&mut one, step, &prepared, clock.now()).await;
                let in_redis = take(&mut other, step, &prepared, clock.now()).await;
                // Hints may be more on Redis: those of expired families are removed when they are followed.
                if !matches!(step, Step::Due) {
                    assert_eq!(in_memory, in_redis, "step {number}: {step:?}");
                }
            }
        }
    }
}

#[test]
fn memory_and_redis_say_the_same() {
    let Some(server) = Redis::start() else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let store = Arc::new(runtime.block_on(redis(&single(&server))).judging_by_callers_clock());
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(compare(&steps, &server, &store));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
