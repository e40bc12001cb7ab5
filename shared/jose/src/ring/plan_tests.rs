//! The plan's texts and refusals.

use super::*;

fn plan(policy: RingPolicy, verifiers: &[Verifier]) -> Result<RotationPlan, String> {
    RotationPlan::of(&policy, verifiers, Door::default()).map_err(|problems| problems.to_string())
}

fn refusal(policy: RingPolicy, verifiers: &[Verifier]) -> String {
    plan(policy, verifiers).unwrap_err()
}

/// The default policy with a lead that has nothing to spare for its own `verifier_cache`.
const TIGHT: RingPolicy = RingPolicy {
    interval_s: 30 * 86_400,
    lead_s: 3_600 + 300 + 3_600 + 3_600 + 60 + 60,
    max_token_ttl_s: 3_600,
    retention_s: 5_610 + 3_600 + 60 + 300 + 120,
    jwks_max_age_s: 300,
    verifier_cache_s: 3_600,
    skew_s: 60,
};

#[test]
fn an_operator_can_read_the_default_plan() {
    let presets = [Verifier::snowflake(), Verifier::envoy(), Verifier::istio()];
    let text = plan(RingPolicy::default(), &presets).unwrap().to_string();
    let expected = "\
the life of one key:
  T+0s        published     its public half is published; it is the standby
  T+1h6m      seen          every declared verifier has it, if no store or door fails
  T+24h       may-sign      the earliest moment at which it could sign: lead
  T+30d       promoted      the next rotation sets when it signs, and publishes a new standby
  T+30d10m    signs         every issuer signs with it, each by its own clock
  T+60d       succeeded     the rotation after sets when its successor signs
  T+60d10m    stops         its successor signs; only an issuer that cannot reach its store still uses it
  T+60d12h11m last-signed   the last token of such an issuer: lead / 2, clocks apart
  T+60d13h13m last-dead     the last token is dead at every verifier
  T+62d10m    unpublished   its public half is removed: retention
  T+90d       private-gone  the rotation that drops its private half from the ring
what keeps it safe:
  lead >= door memory + max-age + stale-if-error + slowest cache + skew + step: 86400 s for 11220 s, 20h53m to spare
  interval > lead: 2592000 s for 86401 s, 28d23h59m59s to spare
  retention >= lead / 2 + max_token_ttl + leeway + max-age + 2 skew: 172800 s for 47280 s, 1d10h52m to spare
  leeway >= skew: 60 s for 60 s, 0s to spare
at most 4 keys of an algorithm are published at once
a withdrawn key may be believed for 3h6m
a key made in an emergency may be refused for 1h7m";
    assert_eq!(text, expected);
}

#[test]
fn nothing_to_spare_is_accepted_and_one_second_less_is_not() {
    plan(TIGHT, &[Verifier::snowflake()]).unwrap();
    for (policy, expected) in [
        (
            RingPolicy { lead_s: TIGHT.lead_s - 1, ..TIGHT },
            "policy.lead: expected lead >= door memory (its stale-if-error, if longer) + max-age + stale-if-error + cache of snowflake + skew + a rotation's step, found 11219 < 3600 + 300 + 3600 + 3600 + 60 + 60 = 11220",
        ),
        (
            RingPolicy { retention_s: TIGHT.retention_s - 1, ..TIGHT },
            "policy.retention: expected retention >= lead / 2 + max_token_ttl + leeway + jwks_max_age + 2 skew, found 9689 < 5610 + 3600 + 60 + 300 + 120 = 9690",
        ),
        (
            RingPolicy { interval_s: TIGHT.lead_s, ..TIGHT },
            "policy.interval: expected interval > lead, found 11220 <= 11220; hint: rotate less often",
        ),
        (
            RingPolicy { skew_s: 61, lead_s: 86_400, retention_s: 86_400, ..TIGHT },
            "policy.skew: expected skew <= leeway, found 61 > 60; hint: a verifier whose clock is behind refuses a new token",
        ),
        (
            RingPolicy { verifier_cache_s: 3_599, lead_s: 86_400, retention_s: 86_400, ..TIGHT },
            "policy.verifier_cache: expected verifier_cache >= the cache of snowflake, found 3599 < 3600; hint: a withdrawal counts with it",
        ),
    ] {
        assert_eq!(refusal(policy, &[Verifier::envoy(), Verifier::snowflake()]), expected);
    }
}

#[test]
fn a_verifier_that_caches_for_a_week_needs_a_lead_of_a_week() {
    let text = refusal(RingPolicy::default(), &[Verifier::eks_style(), Verifier::envoy()]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(
        lines[0].ends_with(
            "cache of eks-style + skew + a rotation's step, found 86400 < 3600 + 300 + 3600 + 604800 + 60 + 60 = 612420"
        ),
        "{text}"
    );
    assert!(lines[1].starts_with("policy.verifier_cache: "), "{text}");
    let week =
        RingPolicy { lead_s: 612_420, verifier_cache_s: 604_800, retention_s: 4 * 86_400, ..RingPolicy::default() };
    plan(week, &[Verifier::eks_style()]).unwrap();
}

/// While the door fails nothing can be fetched, so its lead is the same as that of a verifier that refuses; an emergency's
/// key it knows sooner.
#[test]
fn a_verifier_that_fetches_again_needs_the_lead_of_its_cache() {
    let refetching = |cache_s| [Verifier::new("jose", cache_s, UnknownKid::Refetches { cool_down_s: 30 })];
    let text = refusal(TIGHT, &refetching(3_601));
    assert!(text.contains("cache of jose"), "{text}");
    let plan = plan(TIGHT, &refetching(3_600)).unwrap();
    assert_eq!(plan.forgeries_accepted_s(), 3_600 + 300 + 3_600 + 3_600 + 60);
    assert_eq!(plan.emergency_refusals_s(), 60 + 300 + 30 + 60);
}

#[test]
fn every_problem_is_reported_and_a_foreign_name_is_escaped() {
    let policy = RingPolicy { interval_s: 1, lead_s: 1, retention_s: 1, max_token_ttl_s: 0, skew_s: 99, ..TIGHT };
    let text = refusal(policy, &[Verifier::new("evil\n", u64::MAX, UnknownKid::Refuses)]);
    let places: Vec<&str> = text.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(
        places,
        [
            "policy.max_token_ttl",
            "policy.interval",
            "policy.retention",
            "policy.lead",
            "policy.verifier_cache",
            "policy.skew"
        ]
    );
}

#[test]
fn the_moments_are_in_order_and_tools_get_them_as_data() {
    let plan = plan(TIGHT, &[Verifier::istio()]).unwrap();
    let moments = plan.moments();
    assert!(moments.is_sorted_by_key(|moment| moment.at_s));
    let json = plan.to_json();
    assert_eq!(json["policy"]["lead"], 11_220);
    assert_eq!(json["verifiers"][0], json!({"name": "istio", "cache": 1_200, "refetch_cool_down": null}));
    assert_eq!(json["moments"].as_array().unwrap().len(), moments.len());
    assert_eq!(json["margins"][0]["need"], 11_220);
}

/// A lead longer than what is left of the interval: the key waits for it.
#[test]
fn a_key_that_is_promoted_early_signs_when_its_lead_is_over() {
    let policy = RingPolicy { interval_s: TIGHT.lead_s + 1, ..TIGHT };
    let moments = plan(policy, &[]).unwrap().moments();
    let at = |name: &str| moments.iter().find(|moment| moment.name == name).unwrap().at_s;
    assert_eq!(at("signs"), policy.interval_s + 600);
    assert_eq!(at("stops"), 2 * policy.interval_s + 600);
}

#[test]
fn presets_are_found_by_name() {
    for preset in [Verifier::snowflake(), Verifier::envoy(), Verifier::istio(), Verifier::eks_style()] {
        assert_eq!(Verifier::preset(&preset.name), Some(preset));
    }
    assert_eq!(Verifier::preset("none"), None);
}

#[test]
fn spans_read_well() {
    let texts = [0, 59, 3_600, 3_661, 86_400, 86_401, 30 * 86_400].map(span);
    assert_eq!(texts, ["0s", "59s", "1h", "1h1m1s", "24h", "1d1s", "30d"]);
}
