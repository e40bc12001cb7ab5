//! The times of a rotation on the command line.

use token_jose::RingPolicy;

use super::Failure;
use crate::operator::span::Span;

/// The policy of a ring: spans such as 30d, 24h, 15m or seconds. Default: the ring's own defaults.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct PolicyArgs {
    /// From one rotation to the next [default: 30d]
    #[arg(long, value_name = "SPAN")]
    interval: Option<Span>,
    /// How long a key is public before it may sign [default: 24h]
    #[arg(long, value_name = "SPAN")]
    lead: Option<Span>,
    /// The longest lifetime of a token [default: 1h]
    #[arg(long, value_name = "SPAN")]
    max_token_ttl: Option<Span>,
    /// How long a public half stays after its successor signs [default: 2d]
    #[arg(long, value_name = "SPAN")]
    retention: Option<Span>,
    /// max-age that the key set is served with [default: 5m]
    #[arg(long, value_name = "SPAN")]
    jwks_max_age: Option<Span>,
    /// How long the slowest verifier keeps a key set beyond max-age [default: 1h]
    #[arg(long, value_name = "SPAN")]
    verifier_cache: Option<Span>,
    /// How far two clocks may be apart [default: 60s]
    #[arg(long, value_name = "SPAN")]
    skew: Option<Span>,
}

impl PolicyArgs {
    /// `base` with what was given instead.
    pub(super) fn over(&self, base: RingPolicy) -> RingPolicy {
        let or = |given: Option<Span>, base: u64| given.map_or(base, |span| span.0);
        RingPolicy {
            interval_s: or(self.interval, base.interval_s),
            lead_s: or(self.lead, base.lead_s),
            max_token_ttl_s: or(self.max_token_ttl, base.max_token_ttl_s),
            retention_s: or(self.retention, base.retention_s),
            jwks_max_age_s: or(self.jwks_max_age, base.jwks_max_age_s),
            verifier_cache_s: or(self.verifier_cache, base.verifier_cache_s),
            skew_s: or(self.skew, base.skew_s),
        }
    }

    /// The policy of a first ring.
    pub(super) fn safe(&self) -> Result<RingPolicy, Failure> {
        let policy = self.over(RingPolicy::default());
        let problems: Vec<String> = policy.problems().iter().map(ToString::to_string).collect();
        if problems.is_empty() { Ok(policy) } else { Err(Failure::data(problems.join("\n"))) }
    }
}
