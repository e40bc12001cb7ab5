//! What a policy does with the verifiers that are out there: a time line to read before anything is deployed, and a refusal
//! of numbers under which a verifier would meet a key that it does not know, or miss one that it needs.

use std::fmt;

use serde_json::{Value, json};

use crate::problem::{Problem, Problems};
use crate::ring::policy::{LEEWAY_S, RingPolicy, sum};
use crate::ring::rotate::{RING_AGE_S, ROTATION_STEP_S};

/// What a verifier does with a token whose `kid` is not in the key set that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKid {
    /// It refuses until its cache has run out.
    Refuses,
    /// It fetches the key set again, unless it did so within the cool-down.
    Refetches {
        /// The shortest time between two such fetches, in seconds.
        cool_down_s: u64,
    },
}

/// A verifier that is known to be out there: how long it works with the key set it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verifier {
    /// What the operator calls it.
    pub name: String,
    /// The longest time it keeps a key set, in seconds, whatever `max-age` says.
    pub cache_s: u64,
    /// What it does with an unknown `kid`.
    pub unknown_kid: UnknownKid,
}

impl Verifier {
    /// A verifier by its own numbers.
    #[must_use]
    pub fn new(name: impl Into<String>, cache_s: u64, unknown_kid: UnknownKid) -> Self {
        Self { name: name.into(), cache_s, unknown_kid }
    }

    /// Snowflake: signing keys are cached for up to 60 minutes.
    #[must_use]
    pub fn snowflake() -> Self {
        Self::new("snowflake", 3_600, UnknownKid::Refuses)
    }

    /// Envoy's `jwt_authn`: 600 seconds whatever `Cache-Control` says, and no fetch for an unknown `kid`.
    #[must_use]
    pub fn envoy() -> Self {
        Self::new("envoy", 600, UnknownKid::Refuses)
    }

    /// Istio: istiod fetches every 20 minutes, and not for an unknown `kid`.
    #[must_use]
    pub fn istio() -> Self {
        Self::new("istio", 1_200, UnknownKid::Refuses)
    }

    /// A verifier that treats key sets as those of Amazon EKS, which are served for 7 days.
    #[must_use]
    pub fn eks_style() -> Self {
        Self::new("eks-style", 7 * 86_400, UnknownKid::Refuses)
    }

    /// The preset with this name.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        [Self::snowflake(), Self::envoy(), Self::istio(), Self::eks_style()]
            .into_iter()
            .find(|preset| preset.name == name)
    }

    /// How long it refuses tokens of a key that it could fetch, in seconds, while nothing fails.
    #[must_use]
    pub fn blind_s(&self) -> u64 {
        match self.unknown_kid {
            UnknownKid::Refuses => self.cache_s,
            UnknownKid::Refetches { cool_down_s } => self.cache_s.min(cool_down_s),
        }
    }
}

/// What serves the key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door {
    /// How old the set in its memory may be, in seconds.
    pub memory_age_s: u64,
    /// How old that set may be while its store fails, and how long `Cache-Control: stale-if-error` lets a cache in between
    /// go on while the door fails, in seconds.
    pub stale_if_error_s: u64,
}

impl Default for Door {
    /// A minute of memory and an hour of `stale-if-error`: the most that this project's doors allow.
    fn default() -> Self {
        Self { memory_age_s: 60, stale_if_error_s: 3_600 }
    }
}

impl Door {
    /// How old a key set may be when a verifier fetches it while all stores and doors work.
    #[must_use]
    pub fn oldest_s(&self, policy: &RingPolicy) -> u64 {
        sum(&[self.memory_age_s, policy.jwks_max_age_s])
    }

    /// How old a key set may be when a verifier fetches it, at worst: the door's store fails, so that the door serves its
    /// last good set; a cache in between keeps that for `max-age`, and then, while the door fails too, for
    /// `stale-if-error` more.
    #[must_use]
    pub fn oldest_at_worst_s(&self, policy: &RingPolicy) -> u64 {
        sum(&[self.memory_age_s.max(self.stale_if_error_s), policy.jwks_max_age_s, self.stale_if_error_s])
    }
}

/// One moment in the life of a key: seconds after its publication as standby, and what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds after the key was published, by clocks that agree and rotations that are on time.
    pub at_s: u64,
    /// A stable word for it.
    pub name: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// One inequality that the plan keeps, and by how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Margin {
    /// The inequality in words.
    pub inequality: &'static str,
    /// The side that must not be the smaller one, in seconds.
    pub have_s: u64,
    /// The side it is compared with, in seconds.
    pub need_s: u64,
}

/// A policy that is safe with these verifiers and this door, and the life of a key under it.
///
/// All of it assumes that any two clocks are at most [`RingPolicy::skew_s`] apart, and that a declared verifier does what it
/// is declared to do.
///
/// ```
/// use token_jose::{Door, RingPolicy, RotationPlan, Verifier};
///
/// let plan = RotationPlan::of(&RingPolicy::default(), &[Verifier::snowflake()], Door::default())?;
/// assert!(plan.to_string().contains("T+24h       may-sign"));
///
/// let hasty = RingPolicy { lead_s: 7_200, ..RingPolicy::default() };
/// let problems = RotationPlan::of(&hasty, &[Verifier::snowflake()], Door::default()).unwrap_err();
/// assert!(problems.to_string().contains("found 7200 < 3600 + 300 + 3600 + 3600 + 60 + 60 = 11220"));
/// # Ok::<(), token_jose::Problems>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationPlan {
    policy: RingPolicy,
    verifiers: Vec<Verifier>,
    door: Door,
}

impl RotationPlan {
    /// The plan, if every inequality holds:
    ///
    /// - those of [`RingPolicy::problems`];
    /// - `lead >= door memory + max-age + stale-if-error + verifier cache + skew +` [`ROTATION_STEP_S`], for the slowest
    ///   declared verifier and for the policy's own `verifier_cache`: else a verifier may not have seen a key that signs. A
    ///   door whose store fails serves from memory for `stale-if-error` instead of its usual age;
    /// - `verifier_cache >= the slowest verifier's`, so that a withdrawal tells the truth about how long its key matters;
    /// - `skew <= leeway` (60 s), or a verifier with a late clock refuses a new token as not yet valid.
    ///
    /// A verifier that fetches again for an unknown `kid` counts with its whole cache: while the door fails, it cannot.
    /// `retention` covers neither `stale-if-error` nor caches: an older set than the current one still has the old key.
    ///
    /// # Errors
    /// Every inequality that fails, with its numbers.
    pub fn of(policy: &RingPolicy, verifiers: &[Verifier], door: Door) -> Result<Self, Problems> {
        let plan = Self { policy: *policy, verifiers: verifiers.to_vec(), door };
        let mut problems = Problems::default();
        let lead = plan.lead_problem();
        // The ring's own inequality for the lead is a part of ours.
        let own = policy.problems().into_iter().filter(|problem| lead.is_none() || problem.at() != "policy.lead");
        problems.extend(own);
        problems.extend(lead);
        if let Some(slowest) = plan.slowest().filter(|slowest| slowest.cache_s > policy.verifier_cache_s) {
            let (cache, have) = (slowest.cache_s, policy.verifier_cache_s);
            let text = format!(
                "expected verifier_cache >= the cache of {}, found {have} < {cache}; hint: a withdrawal counts with it",
                slowest.name.escape_debug()
            );
            problems.add("policy.verifier_cache", text);
        }
        if policy.skew_s > LEEWAY_S {
            let text = format!(
                "expected skew <= leeway, found {} > {LEEWAY_S}; hint: a verifier whose clock is behind refuses a new token",
                policy.skew_s
            );
            problems.add("policy.skew", text);
        }
        if problems.is_empty() { Ok(plan) } else { Err(problems) }
    }

    fn lead_problem(&self) -> Option<Problem> {
        let policy = &self.policy;
        let need = self.lead_needed_s();
        if policy.lead_s >= need {
            return None;
        }
        let memory = self.door.memory_age_s.max(self.door.stale_if_error_s);
        let (max_age, stale, skew) = (policy.jwks_max_age_s, self.door.stale_if_error_s, policy.skew_s);
        let (cache, whose) = self.cache();
        Some(Problem::new(
            "policy.lead",
            format!(
                "expected lead >= door memory (its stale-if-error, if longer) + max-age + stale-if-error + cache of {whose} + skew + a rotation's step, found {} < {memory} + {max_age} + {stale} + {cache} + {skew} + {ROTATION_STEP_S} = {need}",
                policy.lead_s
            ),
        ))
    }

    /// The verifier that keeps a key set the longest.
    fn slowest(&self) -> Option<&Verifier> {
        self.verifiers.iter().max_by_key(|verifier| verifier.cache_s)
    }

    /// The cache that the lead must outlast, and whose it is.
    fn cache(&self) -> (u64, String) {
        match self.slowest().filter(|slowest| slowest.cache_s >= self.policy.verifier_cache_s) {
            Some(slowest) => (slowest.cache_s, slowest.name.escape_debug().to_string()),
            None => (self.policy.verifier_cache_s, "the policy".to_owned()),
        }
    }

    fn lead_needed_s(&self) -> u64 {
        sum(&[self.door.oldest_at_worst_s(&self.policy), self.cache().0, self.policy.skew_s, ROTATION_STEP_S])
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &RingPolicy {
        &self.policy
    }

    /// The life of one key, in order of time, with every rotation on time.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment> {
        let policy = &self.policy;
        let moment = |at_s, name, meaning| Moment { at_s, name, meaning };
        let switch = |promoted: u64, public: u64| sum(&[promoted, 2 * RING_AGE_S]).max(sum(&[public, policy.lead_s]));
        let (promoted, succeeded) = (policy.interval_s, policy.interval_s.saturating_mul(2));
        let signs = switch(promoted, 0);
        let successor = switch(succeeded, promoted);
        let last_signed = sum(&[successor, policy.lead_s.div_ceil(2), policy.skew_s]);
        let private_gone = policy.interval_s.saturating_mul(3).max(successor);
        let seen = sum(&[self.door.oldest_s(policy), self.cache().0]);
        let mut moments = vec![
            moment(0, "published", "its public half is published; it is the standby"),
            moment(seen, "seen", "every declared verifier has it, if no store or door fails"),
            moment(policy.lead_s, "may-sign", "the earliest moment at which it could sign: lead"),
            moment(promoted, "promoted", "the next rotation sets when it signs, and publishes a new standby"),
            moment(signs, "signs", "every issuer signs with it, each by its own clock"),
            moment(succeeded, "succeeded", "the rotation after sets when its successor signs"),
            moment(successor, "stops", "its successor signs; only an issuer that cannot reach its store still uses it"),
            moment(last_signed, "last-signed", "the last token of such an issuer: lead / 2, clocks apart"),
            moment(
                sum(&[last_signed, policy.max_token_ttl_s, LEEWAY_S, policy.skew_s]),
                "last-dead",
                "the last token is dead at every verifier",
            ),
            moment(sum(&[successor, policy.retention_s]), "unpublished", "its public half is removed: retention"),
            moment(private_gone, "private-gone", "the rotation that drops its private half from the ring"),
        ];
        moments.sort_by_key(|moment| moment.at_s);
        moments
    }

    /// What each inequality has to spare.
    #[must_use]
    pub fn margins(&self) -> Vec<Margin> {
        let policy = &self.policy;
        let retention = policy.retention_needed_s();
        let margin = |inequality, have_s, need_s| Margin { inequality, have_s, need_s };
        vec![
            margin(
                "lead >= door memory + max-age + stale-if-error + slowest cache + skew + step",
                policy.lead_s,
                self.lead_needed_s(),
            ),
            margin("interval > lead", policy.interval_s, policy.lead_s.saturating_add(1)),
            margin("retention >= lead / 2 + max_token_ttl + leeway + max-age + 2 skew", policy.retention_s, retention),
            margin("leeway >= skew", LEEWAY_S, policy.skew_s),
        ]
    }

    /// The most keys of one algorithm that are published at the same time, with every rotation on time.
    #[must_use]
    pub fn most_keys(&self) -> u64 {
        // A standby, the two around a switch, and those still retained from earlier switches.
        self.policy.retention_s.div_ceil(self.policy.interval_s.max(1)).saturating_add(3)
    }

    /// How long a declared verifier may accept forgeries with a withdrawn key, in seconds, even if the door or its store
    /// fails just then.
    #[must_use]
    pub fn forgeries_accepted_s(&self) -> u64 {
        sum(&[self.door.oldest_at_worst_s(&self.policy), self.cache().0, self.policy.skew_s])
    }

    /// How long a declared verifier may refuse the tokens of a key that an emergency made, in seconds, while nothing fails:
    /// one that fetches again for an unknown `kid` does so after its cool-down.
    #[must_use]
    pub fn emergency_refusals_s(&self) -> u64 {
        let blind = self.verifiers.iter().map(Verifier::blind_s).max().unwrap_or(self.policy.verifier_cache_s);
        sum(&[self.door.oldest_s(&self.policy), blind, self.policy.skew_s])
    }

    /// The plan as data, for tools: all times in seconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let policy: serde_json::Map<String, Value> =
            self.policy.members().into_iter().map(|(name, seconds)| (name.to_owned(), seconds.into())).collect();
        let verifiers: Vec<Value> = self
            .verifiers
            .iter()
            .map(|verifier| {
                let cool_down = match verifier.unknown_kid {
                    UnknownKid::Refuses => Value::Null,
                    UnknownKid::Refetches { cool_down_s } => cool_down_s.into(),
                };
                json!({"name": verifier.name, "cache": verifier.cache_s, "refetch_cool_down": cool_down})
            })
            .collect();
        let moments: Vec<Value> = self
            .moments()
            .iter()
            .map(|moment| json!({"at": moment.at_s, "name": moment.name, "meaning": moment.meaning}))
            .collect();
        let margins: Vec<Value> = self
            .margins()
            .iter()
            .map(|margin| json!({"inequality": margin.inequality, "have": margin.have_s, "need": margin.need_s}))
            .collect();
        json!({
            "policy": policy,
            "verifiers": verifiers,
            "door": {"memory_age": self.door.memory_age_s, "stale_if_error": self.door.stale_if_error_s},
            "moments": moments,
            "margins": margins,
            "most_keys": self.most_keys(),
            "forgeries_accepted": self.forgeries_accepted_s(),
            "emergency_refusals": self.emergency_refusals_s(),
        })
    }
}

impl fmt::Display for RotationPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the life of one key:")?;
        for moment in self.moments() {
            writeln!(f, "  T+{:<9} {:<13} {}", span(moment.at_s), moment.name, moment.meaning)?;
        }
        writeln!(f, "what keeps it safe:")?;
        for margin in self.margins() {
            let (have, need) = (margin.have_s, margin.need_s);
            writeln!(
                f,
                "  {}: {have} s for {need} s, {} to spare",
                margin.inequality,
                span(have.saturating_sub(need))
            )?;
        }
        writeln!(f, "at most {} keys of an algorithm are published at once", self.most_keys())?;
        writeln!(f, "a withdrawn key may be believed for {}", span(self.forgeries_accepted_s()))?;
        write!(f, "a key made in an emergency may be refused for {}", span(self.emergency_refusals_s()))
    }
}

/// A span as an operator says it: `30d`, `1d6h`, `10m`, `1h1m1s`.
fn span(seconds: u64) -> String {
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        // A day reads as 24h: nobody plans a lead of "1d".
        if size == 86_400 && rest <= size {
            continue;
        }
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
