//! One case: an accepted plan, what may go wrong, and the chance that decides when.

use proptest::prelude::*;
use token_jose::{Door, RingPolicy, RotationPlan, UnknownKid, Verifier};

/// What may happen in a case. Each is off in some cases, so that a failure shrinks to what it needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Troubles {
    /// Steps stop between two store calls, or lose a store's answer.
    pub(super) crashes: bool,
    /// Steps run late, and late again.
    pub(super) delays: bool,
    /// Steps run twice at once, and again after they are done.
    pub(super) repeats: bool,
    /// Issuers and doors lose their store; doors go down.
    pub(super) outages: bool,
    /// An operator makes an older version current.
    pub(super) rollback: bool,
    /// A key, or all, is withdrawn.
    pub(super) withdrawal: bool,
}

/// How the world breaks its promises: to show that the property can fail.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lies {
    /// Tokens live this much longer than the policy says.
    pub(super) longer_tokens_s: u64,
    /// Verifiers keep key sets this much longer than declared.
    pub(super) slower_verifiers_s: u64,
}

/// A case of the simulation.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) policy: RingPolicy,
    pub(super) verifiers: Vec<Verifier>,
    pub(super) door: Door,
    pub(super) troubles: Troubles,
    pub(super) lies: Lies,
    pub(super) seed: u64,
}

impl Case {
    /// The accepted plan.
    pub(super) fn plan(&self) -> RotationPlan {
        RotationPlan::of(&self.policy, &self.verifiers, self.door).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// How long the slowest declared verifier works with a key set.
    pub(super) fn cache_s(&self) -> u64 {
        self.verifiers.iter().map(|verifier| verifier.cache_s).max().unwrap_or(0)
    }
}

/// Seconds to spare: nothing half of the time.
fn spare(most: u64) -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..=most]
}

fn verifiers() -> impl Strategy<Value = Vec<Verifier>> {
    let refetching = Verifier::new("refetching", 86_400, UnknownKid::Refetches { cool_down_s: 30 });
    let quick = Verifier::new("quick", 5, UnknownKid::Refuses);
    let all =
        vec![Verifier::snowflake(), Verifier::envoy(), Verifier::istio(), Verifier::eks_style(), refetching, quick];
    prop::sample::subsequence(all, 1..=4)
}

pub(super) fn troubles(rollback: bool, withdrawal: bool) -> impl Strategy<Value = Troubles> {
    any::<[bool; 4]>().prop_map(move |[crashes, delays, repeats, outages]| Troubles {
        crashes,
        delays,
        repeats,
        outages,
        rollback,
        withdrawal,
    })
}

/// Cases with accepted plans, half of them with nothing to spare in an inequality.
pub(super) fn cases(troubles: impl Strategy<Value = Troubles>) -> impl Strategy<Value = Case> {
    let times = (0..=300_u64, 1..=60_u64, prop_oneof![Just(0), 0..=3_600_u64], 0..=60_u64, 1..=7_200_u64);
    let spares = (spare(86_400), spare(86_400), spare(86_400));
    (times, spares, verifiers(), troubles, any::<u64>()).prop_map(|(times, spares, verifiers, troubles, seed)| {
        let (jwks_max_age_s, memory_age_s, stale_if_error_s, skew_s, max_token_ttl_s) = times;
        let door = Door { memory_age_s, stale_if_error_s };
        let verifier_cache_s = verifiers.iter().map(|verifier| verifier.cache_s).max().unwrap_or(0);
        let mut policy =
            RingPolicy { jwks_max_age_s, skew_s, max_token_ttl_s, verifier_cache_s, ..RingPolicy::default() };
        // The smallest numbers that are accepted, found the way an operator finds them: by what is refused.
        policy.lead_s = smallest(|lead_s| accepts(RingPolicy { lead_s, ..loose(policy) }, &verifiers, door)) + spares.0;
        policy.retention_s =
            smallest(|retention_s| accepts(RingPolicy { retention_s, ..with_interval(policy) }, &verifiers, door))
                + spares.1;
        policy.interval_s = policy.lead_s.max(max_token_ttl_s / 4) + 1 + spares.2;
        Case { policy, verifiers, door, troubles, lies: Lies::default(), seed }
    })
}

fn loose(policy: RingPolicy) -> RingPolicy {
    RingPolicy { interval_s: 300_000_000, retention_s: 300_000_000, ..policy }
}

fn with_interval(policy: RingPolicy) -> RingPolicy {
    RingPolicy { interval_s: 300_000_000, ..policy }
}

fn accepts(policy: RingPolicy, verifiers: &[Verifier], door: Door) -> bool {
    RotationPlan::of(&policy, verifiers, door).is_ok()
}

fn smallest(accepted: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, 100_000_000);
    while low < high {
        let middle = u64::midpoint(low, high);
        if accepted(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

/// Chance from a seed (SplitMix64).
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        self.next() % most.saturating_add(1)
    }

    /// True once in `n`.
    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub(super) fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.up_to(items.len() as u64 - 1)).unwrap()]
    }
}
