//! What must hold in every world. The relying parties of a world fetch when chance has it; this judges every moment at which
//! a verifier within the plan might have fetched.

use token_jose::ROTATION_STEP_S;

use super::actors::{Token, world_time};
use super::case::Case;
use super::world::{Promise, World};

/// Whether a withdrawal explains that `token` is refused at `t`.
fn may_be_refused(promises: &[Promise], case: &Case, token: &Token, t: u64) -> bool {
    promises.iter().any(|promise| {
        let until = promise.report.refusals_until.map_or(0, |until| world_time(until) + ROTATION_STEP_S);
        promise.kids.contains(&token.kid) || (t >= promise.started && t <= until + case.policy.skew_s)
    })
}

/// Every promise that the world broke.
pub(super) fn broken_promises(case: &Case, world: &World) -> Vec<String> {
    let mut broken = world.problems.clone();
    for refusal in &world.refusals {
        let token = &refusal.token;
        if !may_be_refused(&world.promises, case, token, refusal.at) {
            let (at, verifier, why) = (refusal.at, &refusal.verifier, &refusal.why);
            broken.push(format!(
                "{at}: {verifier} refuses a token of {} signed at {}: {why}",
                token.kid, token.signed_at
            ));
        }
    }
    for token in &world.tokens {
        broken.extend(lead(case, world, token));
        broken.extend(every_verifier(case, world, token));
    }
    for promise in &world.promises {
        broken.extend(withdrawn(case, world, promise));
    }
    broken
}

/// No key signs before `published_at + lead`, but the first ones and after an emergency.
fn lead(case: &Case, world: &World, token: &Token) -> Option<String> {
    let since = world.stored.iter().find(|stored| stored.set.get(&token.kid).is_some())?.since;
    let earliest = (since + case.policy.lead_s).saturating_sub(case.policy.skew_s + ROTATION_STEP_S);
    let excused = world.first_kids.contains(&token.kid)
        || world.promises.iter().any(|promise| promise.started <= token.signed_at);
    (token.signed_at < earliest && !excused)
        .then(|| format!("{}: {} signs, published only since {since}", token.signed_at, token.kid))
}

/// Whatever set a verifier may hold while the token lives has its key.
fn every_verifier(case: &Case, world: &World, token: &Token) -> Option<String> {
    let policy = &case.policy;
    // How long after its replacement in the store a set may still be somewhere.
    let oldest_s =
        if case.troubles.withdrawal { case.door.oldest_s(policy) } else { case.door.oldest_at_worst_s(policy) };
    let lingers = oldest_s + case.cache_s();
    // A verifier's clock is right or ahead, so to it the token is dead at `exp` at the latest.
    let (from, until) = (token.signed_at, token.exp);
    for (index, stored) in world.stored.iter().enumerate() {
        let replaced = world.stored.get(index + 1).map_or(u64::MAX / 2, |next| next.since);
        let (held_from, held_until) = (stored.since.max(from), (replaced + lingers).min(until));
        if held_from >= held_until || (held_from..held_until).all_refusable(world, case, token) {
            continue;
        }
        let entry = stored.set.entry(&token.kid);
        // A door whose clock is ahead stops serving it this much earlier.
        let served_until =
            entry.map(|entry| entry.not_after.map_or(u64::MAX / 2, world_time).saturating_sub(policy.skew_s));
        let dropped = match served_until {
            None => Some(held_from),
            // The door serves this set until its replacement reaches it.
            Some(end) if end < until && end < replaced && end >= stored.since.saturating_sub(policy.skew_s) => {
                Some(end)
            }
            Some(_) => None,
        };
        if let Some(at) = dropped {
            return Some(format!(
                "{at}: a verifier may hold the set stored at {} without {}, which signed at {from} a token that lives until {until}",
                stored.since, token.kid
            ));
        }
    }
    None
}

trait Refusable {
    fn all_refusable(&self, world: &World, case: &Case, token: &Token) -> bool;
}

impl Refusable for std::ops::Range<u64> {
    /// Whether a withdrawal excuses every refusal in this span.
    fn all_refusable(&self, world: &World, case: &Case, token: &Token) -> bool {
        may_be_refused(&world.promises, case, token, self.start)
            && may_be_refused(&world.promises, case, token, self.end.saturating_sub(1))
    }
}

/// After a withdrawal: nobody signs with the key once all issuers follow, and it is never published again.
fn withdrawn(case: &Case, world: &World, promise: &Promise) -> Vec<String> {
    let mut broken = Vec::new();
    let follow = world_time(promise.report.issuers_follow_by) + ROTATION_STEP_S + case.policy.skew_s;
    for token in world.tokens.iter().filter(|token| promise.kids.contains(&token.kid)) {
        // An issuer that cannot reach its store cannot know; its last good ring ends after half the lead.
        let stale = if token.issuer_was_cut { case.policy.lead_s / 2 } else { 0 };
        if token.signed_at > follow + stale {
            broken.push(format!("{}: {} signs, withdrawn at {}", token.signed_at, token.kid, promise.started));
        }
    }
    for kid in &promise.kids {
        let again = |since: u64| since >= promise.settled;
        if let Some(stored) = world.stored.iter().find(|stored| again(stored.since) && stored.set.get(kid).is_some()) {
            broken.push(format!("{}: {kid} is published again, withdrawn at {}", stored.since, promise.started));
        }
        // What is stored when all have ended is without it.
        let last = world.stored.iter().rev().find(|stored| stored.since <= promise.settled);
        if last.is_some_and(|stored| stored.set.get(kid).is_some()) {
            broken.push(format!("{kid} is still published, withdrawn at {}", promise.started));
        }
    }
    broken
}
