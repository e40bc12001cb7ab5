//! The promise of rotation, in simulated worlds: every token verifies at every verifier until its `exp`, for every plan that
//! is accepted, whatever goes wrong between two store calls. `PROPTEST_CASES` runs more worlds.

mod actors;
mod case;
mod oracle;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::Config;
use token_jose::{Door, RingPolicy, UnknownKid, Verifier};

use case::{Case, Lies, Troubles, cases, troubles};
use world::World;

fn check(case: &Case) -> Result<World, TestCaseError> {
    case.plan();
    let world = World::run(case);
    let broken = oracle::broken_promises(case, &world);
    prop_assert!(broken.is_empty(), "{}", broken.into_iter().take(5).collect::<Vec<_>>().join("\n"));
    Ok(world)
}

fn config(cases: u32) -> Config {
    let asked = Config::default().cases;
    // 256 is proptest's own default: nobody asked for a number.
    let cases = if asked == 256 { cases } else { asked };
    Config { cases, failure_persistence: None, max_shrink_iters: 100, ..Config::default() }
}

proptest! {
    #![proptest_config(config(48))]

    /// **INV** zero rejected tokens, and no key signs before its lead, for every accepted plan.
    #[test]
    fn no_token_is_rejected(case in cases(troubles(false, false))) {
        let world = check(&case)?;
        prop_assert!(world.finished > 0 || case.troubles.crashes || case.troubles.repeats);
        prop_assert!(!world.tokens.is_empty());
    }

    /// An operator may make an older version current at any time: issuers may refuse then, verifiers may not.
    #[test]
    fn no_token_is_rejected_after_a_rollback(case in cases(troubles(true, false))) {
        check(&case)?;
    }

    /// **INV** a withdrawn key signs no more once issuers follow, is never published again, and what verifiers refuse is
    /// what the report says.
    #[test]
    fn a_withdrawal_keeps_what_it_reports(case in cases(troubles(false, true))) {
        check(&case)?;
    }

    /// **INV** the same when somebody makes older versions current, before a withdrawal and after it: no step and no issuer
    /// accepts a ring that a withdrawal made void.
    #[test]
    fn a_withdrawal_holds_through_rollbacks(case in cases(troubles(true, true))) {
        check(&case)?;
    }
}

/// Found by chance: a withdrawal stopped after it had published, somebody made an older ring current that does not have the
/// key, and the withdrawal was run again.
#[test]
fn a_withdrawal_that_stopped_can_be_run_again_after_a_rollback() {
    let policy = RingPolicy {
        interval_s: 43_149,
        lead_s: 13_994,
        max_token_ttl_s: 2_163,
        retention_s: 12_031,
        jwks_max_age_s: 245,
        verifier_cache_s: 3_600,
        skew_s: 2,
    };
    let verifiers = vec![Verifier::snowflake(), Verifier::envoy(), Verifier::istio()];
    let door = Door { memory_age_s: 11, stale_if_error_s: 0 };
    let troubles = Troubles { crashes: true, rollback: true, withdrawal: true, ..Troubles::default() };
    let case = Case { policy, verifiers, door, troubles, lies: Lies::default(), seed: 4_371_181_518_118_573_841 };
    check(&case).unwrap();
}

/// Found by chance: the first rotation stopped before it published anything, and the second announced the key that still
/// signed with an end, as if its successor were already current.
#[test]
fn a_first_ring_that_was_never_published_signs_until_it_is_replaced() {
    let policy = RingPolicy {
        interval_s: 1_130,
        lead_s: 223,
        max_token_ttl_s: 4_519,
        retention_s: 4_826,
        jwks_max_age_s: 89,
        verifier_cache_s: 5,
        skew_s: 23,
    };
    let verifiers = vec![Verifier::new("quick", 5, UnknownKid::Refuses)];
    let door = Door { memory_age_s: 46, stale_if_error_s: 0 };
    let troubles = Troubles { crashes: true, delays: true, repeats: true, rollback: true, ..Troubles::default() };
    let case = Case { policy, verifiers, door, troubles, lies: Lies::default(), seed: 3_362_625_517_183_687_617 };
    check(&case).unwrap();
}

/// The share of worlds with these lies in which a promise is seen to be broken.
fn caught(lies: Lies) -> (u32, u32) {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = cases(troubles(false, false));
    let mut caught = 0;
    for _ in 0..24 {
        let case = strategy.new_tree(&mut runner).unwrap().current();
        let case = Case { lies, ..case };
        caught += u32::from(!oracle::broken_promises(&case, &World::run(&case)).is_empty());
    }
    (caught, 24)
}

/// A property that cannot fail shows nothing.
#[test]
fn a_world_that_breaks_its_plan_is_caught() {
    let (longer, of) = caught(Lies { longer_tokens_s: 1_000_000, ..Lies::default() });
    assert!(longer > of / 2, "tokens that outlive retention: seen in {longer} of {of} worlds");
    let (slower, of) = caught(Lies { slower_verifiers_s: 100_000_000, ..Lies::default() });
    assert!(slower > of / 4, "verifiers that cache longer than declared: seen in {slower} of {of} worlds");
}
