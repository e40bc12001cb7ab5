//! The times that make rotation safe, and the inequalities between them.

use crate::problem::Problem;

/// How far a verifier's clock and the issuer's tolerance of it may be apart, in seconds: what [`crate::Expectation`]
/// allows by default.
pub const LEEWAY_S: u64 = 60;

/// The largest time a policy may name: 10 years. It keeps every sum far from overflow.
const LONGEST_S: u64 = 10 * 365 * 86_400;

/// When keys are made, become active and disappear. All times in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingPolicy {
    /// From one rotation to the next.
    pub interval_s: u64,
    /// How long a key is public before it may sign.
    pub lead_s: u64,
    /// The longest lifetime of a token that the ring's keys sign.
    pub max_token_ttl_s: u64,
    /// How long a public half stays after its successor's `signs_from`.
    pub retention_s: u64,
    /// The `max-age` that the key set is served with.
    pub jwks_max_age_s: u64,
    /// How long the slowest declared verifier keeps a key set beyond `max-age`.
    pub verifier_cache_s: u64,
    /// How far two clocks may be apart.
    pub skew_s: u64,
}

impl Default for RingPolicy {
    /// Rotation every 30 days, 24 hours of lead, tokens of at most one hour, two days of retention, a `max-age` of 5
    /// minutes, verifiers that cache for an hour, a minute of skew.
    fn default() -> Self {
        Self {
            interval_s: 30 * 86_400,
            lead_s: 86_400,
            max_token_ttl_s: 3_600,
            retention_s: 2 * 86_400,
            jwks_max_age_s: 300,
            verifier_cache_s: 3_600,
            skew_s: 60,
        }
    }
}

impl RingPolicy {
    /// The document's member names with their values, in document order.
    pub(crate) fn members(&self) -> [(&'static str, u64); 7] {
        [
            ("interval", self.interval_s),
            ("lead", self.lead_s),
            ("max_token_ttl", self.max_token_ttl_s),
            ("retention", self.retention_s),
            ("jwks_max_age", self.jwks_max_age_s),
            ("verifier_cache", self.verifier_cache_s),
            ("skew", self.skew_s),
        ]
    }

    /// Sets the value that the document calls `name`, if there is one of that name.
    pub(crate) fn set(&mut self, name: &str, seconds: u64) {
        let field = match name {
            "interval" => &mut self.interval_s,
            "lead" => &mut self.lead_s,
            "max_token_ttl" => &mut self.max_token_ttl_s,
            "retention" => &mut self.retention_s,
            "jwks_max_age" => &mut self.jwks_max_age_s,
            "verifier_cache" => &mut self.verifier_cache_s,
            "skew" => &mut self.skew_s,
            _ => return,
        };
        *field = seconds;
    }

    /// Every inequality that does not hold, with its numbers; empty for a safe policy.
    ///
    /// - `interval > lead`: else a standby is not public long enough when its turn comes.
    /// - `lead >= jwks_max_age + verifier_cache + skew`: else a verifier may still hold a key set without the new key.
    /// - `retention >= lead / 2 + max_token_ttl + leeway + jwks_max_age + 2 skew`: an issuer may work with a stale ring
    ///   for `lead / 2`; the last token it signs lives `max_token_ttl` and is accepted for `leeway` (60 s) more, by a
    ///   verifier that fetched the set `jwks_max_age` ago, with both clocks off.
    ///
    /// What the door that serves the key set adds (its own memory, `stale-if-error`) is not in a ring and not judged here.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |at: &str, message: String| problems.push(Problem::new(format!("policy.{at}"), message));
        for (name, seconds) in self.members() {
            if seconds > LONGEST_S {
                add(name, format!("expected at most {LONGEST_S} seconds (10 years), found {seconds}"));
            }
        }
        if self.max_token_ttl_s == 0 {
            add("max_token_ttl", "expected at least 1 second, found 0".to_owned());
        }
        if self.interval_s <= self.lead_s {
            let (interval, lead) = (self.interval_s, self.lead_s);
            add("interval", format!("expected interval > lead, found {interval} <= {lead}; hint: rotate less often"));
        }
        let lead_min = sum(&[self.jwks_max_age_s, self.verifier_cache_s, self.skew_s]);
        if self.lead_s < lead_min {
            add(
                "lead",
                format!(
                    "expected lead >= jwks_max_age + verifier_cache + skew, found {} < {} + {} + {} = {lead_min}",
                    self.lead_s, self.jwks_max_age_s, self.verifier_cache_s, self.skew_s
                ),
            );
        }
        let stale = self.lead_s.div_ceil(2);
        let double_skew = self.skew_s.saturating_mul(2);
        let retention_min = self.retention_needed_s();
        if self.retention_s < retention_min {
            add(
                "retention",
                format!(
                    "expected retention >= lead / 2 + max_token_ttl + leeway + jwks_max_age + 2 skew, found {} < {stale} + {} + {LEEWAY_S} + {} + {double_skew} = {retention_min}",
                    self.retention_s, self.max_token_ttl_s, self.jwks_max_age_s
                ),
            );
        }
        problems
    }

    /// The shortest retention that covers every token of a stale issuer.
    pub(crate) fn retention_needed_s(&self) -> u64 {
        sum(&[self.lead_s.div_ceil(2), self.after_signing_s()])
    }

    /// How long a public half must stay after a signature, in seconds: the longest token, and what clocks and caches add.
    #[must_use]
    pub fn after_signing_s(&self) -> u64 {
        sum(&[self.max_token_ttl_s, LEEWAY_S, self.jwks_max_age_s, self.skew_s.saturating_mul(2)])
    }
}

pub(crate) fn sum(terms: &[u64]) -> u64 {
    terms.iter().fold(0, |total: u64, term| total.saturating_add(*term))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(policy: RingPolicy) -> Vec<String> {
        policy.problems().iter().map(ToString::to_string).collect()
    }

    /// A laptop's policy: everything in seconds, every inequality tight.
    const SMALL: RingPolicy = RingPolicy {
        interval_s: 11,
        lead_s: 10,
        max_token_ttl_s: 60,
        retention_s: 5 + 60 + 60 + 4 + 2,
        jwks_max_age_s: 4,
        verifier_cache_s: 5,
        skew_s: 1,
    };

    #[test]
    fn the_default_is_safe_and_so_is_a_small_policy() {
        assert_eq!(problems(RingPolicy::default()), Vec::<String>::new());
        assert_eq!(problems(SMALL), Vec::<String>::new());
    }

    #[test]
    fn one_second_less_names_the_inequality_and_the_numbers() {
        for (policy, expected) in [
            (RingPolicy { interval_s: 10, ..SMALL }, "policy.interval: expected interval > lead, found 10 <= 10"),
            (
                RingPolicy { lead_s: 9, ..SMALL },
                "policy.lead: expected lead >= jwks_max_age + verifier_cache + skew, found 9 < 4 + 5 + 1 = 10",
            ),
            (
                RingPolicy { retention_s: 130, ..SMALL },
                "policy.retention: expected retention >= lead / 2 + max_token_ttl + leeway + jwks_max_age + 2 skew, found 130 < 5 + 60 + 60 + 4 + 2 = 131",
            ),
            (RingPolicy { max_token_ttl_s: 0, ..SMALL }, "policy.max_token_ttl: expected at least 1 second, found 0"),
            (RingPolicy { interval_s: u64::MAX, ..SMALL }, "policy.interval: expected at most 315360000 seconds"),
        ] {
            let found = problems(policy);
            assert!(matches!(found.as_slice(), [one] if one.starts_with(expected)), "{found:?}");
        }
    }

    #[test]
    fn no_numbers_overflow() {
        let all = u64::MAX;
        let policy = RingPolicy {
            interval_s: all,
            lead_s: all,
            max_token_ttl_s: all,
            retention_s: all,
            jwks_max_age_s: all,
            verifier_cache_s: all,
            skew_s: all,
        };
        assert!(problems(policy).len() >= 7);
    }
}
