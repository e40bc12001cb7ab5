//! Rotation and withdrawal, on rings alone.

use jiff::Timestamp;

use super::seconds_after as after;
use super::*;
use crate::keyset::KeySet;
use crate::ring::RingPolicy;
use crate::signer::LocalSigner;

const LEAD: u64 = 86_400;
const INTERVAL: u64 = 30 * 86_400;
const ALGORITHM: Algorithm = Algorithm::EdDsa;

fn start() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn fresh(algorithms: &[Algorithm]) -> Vec<KeyVersion> {
    algorithms.iter().map(|algorithm| KeyVersion::standby(LocalSigner::generate(*algorithm).unwrap())).collect()
}

fn first() -> (KeyRing, KeySet) {
    let ring = KeyRing::first(&[ALGORITHM], RingPolicy::default(), start()).unwrap();
    let published = ring.republished(&KeySet::default(), start());
    (ring, published)
}

fn rotate(ring: &KeyRing, published: &KeySet, now: Timestamp) -> (KeyRing, KeySet) {
    let next = ring.rotated(published, "v", fresh(&ring.standbys_due(now)), now).unwrap();
    let set = next.republished(published, now);
    (next, set)
}

fn kid(ring: &KeyRing, now: Timestamp) -> Kid {
    ring.active(ALGORITHM, now).unwrap().kid().clone()
}

fn standby(ring: &KeyRing) -> Kid {
    ring.key_versions().iter().find(|key| key.signs_from().is_none()).unwrap().kid().clone()
}

#[test]
fn a_rotation_promotes_the_standby_that_has_long_been_public() {
    let (ring, published) = first();
    let (old, waiting) = (kid(&ring, start()), standby(&ring));
    let now = after(start(), INTERVAL);
    let (next, set) = rotate(&ring, &published, now);
    assert_eq!((next.generation(), next.derived_from()), (2, Some("v")));
    assert_eq!(kid(&next, now), old, "nothing changes at once");
    let switch = after(now, 2 * RING_AGE_S);
    assert_eq!(kid(&next, switch), waiting);
    assert_eq!(set.len(), 3, "old, promoted and new standby are all public");
    assert_eq!(set.entry(&waiting).unwrap().published_at, Some(start()), "known since the first ring");
    assert_eq!(set.entry(&standby(&next)).unwrap().published_at, Some(now));
    assert_eq!(set.entry(&old).unwrap().not_after, Some(after(switch, RingPolicy::default().retention_s)));
    assert_eq!(set.entry(&waiting).unwrap().not_after, None);
}

/// **INV** no key signs before `published_at + lead`.
#[test]
fn a_standby_that_is_young_or_unknown_waits_for_its_lead() {
    let (ring, published) = first();
    for (stored, now, expected) in [
        (&published, after(start(), 60), after(start(), LEAD)),
        (&published, after(start(), LEAD), after(start(), LEAD + 2 * RING_AGE_S)),
        (&KeySet::default(), after(start(), INTERVAL), after(start(), INTERVAL + LEAD)),
    ] {
        let waiting = standby(&ring);
        let (next, _) = rotate(&ring, stored, now);
        assert_eq!(next.get(&waiting).unwrap().signs_from(), Some(expected));
    }
}

#[test]
fn a_published_at_in_the_future_is_not_believed() {
    let (ring, published) = first();
    let waiting = standby(&ring);
    let text = published.to_stored_json().replace("2026-11-22", "2036-11-22");
    let stored = KeySet::parse(text.as_bytes()).unwrap();
    let now = after(start(), INTERVAL);
    let (next, _) = rotate(&ring, &stored, now);
    assert_eq!(next.get(&waiting).unwrap().signs_from(), Some(after(now, LEAD)));
}

#[test]
fn a_repeated_rotation_changes_no_time() {
    let (ring, published) = first();
    let now = after(start(), INTERVAL);
    let (once, set) = rotate(&ring, &published, now);
    let later = after(now, 60);
    assert!(once.standbys_due(later).is_empty(), "the promoted key still waits");
    let (twice, set_twice) = rotate(&once, &set, later);
    let times = |ring: &KeyRing| {
        ring.key_versions().iter().map(|key| (key.kid().clone(), key.signs_from())).collect::<Vec<_>>()
    };
    assert_eq!(times(&once), times(&twice));
    assert!(set.entries().eq(set_twice.entries()));
}

#[test]
fn a_ring_without_standby_gets_one_and_keeps_signing() {
    let pem_ring = KeyRing {
        keys: vec![KeyVersion::local(LocalSigner::generate(ALGORITHM).unwrap(), Some(Timestamp::UNIX_EPOCH))],
        ..first().0
    };
    let now = start();
    let (next, _) = rotate(&pem_ring, &KeySet::default(), now);
    assert_eq!(kid(&next, after(now, LEAD)), kid(&pem_ring, now));
    assert_eq!(next.key_versions().len(), 2);
}

#[test]
fn private_halves_go_when_no_clock_needs_them_and_public_halves_after_retention() {
    let (ring, published) = first();
    let old = kid(&ring, start());
    let now = after(start(), INTERVAL);
    let (next, set) = rotate(&ring, &published, now);
    let switch = after(now, 2 * RING_AGE_S);
    let policy = RingPolicy::default();
    let just_before = after(switch, 2 * policy.skew_s - 1);
    let retired = |ring: &KeyRing, set: &KeySet, now: Timestamp| {
        let (later, later_set) = rotate(ring, set, now);
        (later.get(&old).map(|key| key.location().clone()), later_set.entry(&old).is_some())
    };
    assert_eq!(retired(&next, &set, just_before), (Some(PrivateLocation::Inline), true));
    assert_eq!(retired(&next, &set, after(switch, 2 * policy.skew_s)), (Some(PrivateLocation::Dropped), true));
    assert_eq!(retired(&next, &set, after(switch, policy.retention_s - 1)), (Some(PrivateLocation::Dropped), true));
    assert_eq!(retired(&next, &set, after(switch, policy.retention_s)), (None, false));
    let text = next
        .rotated(&set, "v", fresh(&next.standbys_due(after(switch, 300))), after(switch, 300))
        .unwrap()
        .to_json()
        .unwrap();
    assert!(KeyRing::parse(&text).is_ok(), "a ring with a dropped half is a sound document");
}

#[test]
fn a_foreign_key_stays_one_retention_and_never_longer() {
    let (ring, published) = first();
    let (other, _) = first();
    let mut entries: Vec<PublishedKey> = published.entries().cloned().collect();
    entries.push(PublishedKey::new(other.key_versions()[0].public_key().clone()));
    let stored = KeySet::new(entries, 4);
    assert_eq!(ring.foreign(&stored).count(), 1);
    let set = ring.republished(&stored, start());
    let foreign = other.key_versions()[0].kid();
    let limit = after(start(), RingPolicy::default().retention_s);
    assert_eq!(set.entry(foreign).unwrap().not_after, Some(limit));
    assert_eq!(
        ring.republished(&set, after(start(), 60)).entry(foreign).unwrap().not_after,
        Some(limit),
        "not renewed"
    );
    assert!(ring.republished(&set, limit).entry(foreign).is_none());
    assert_eq!(set.min_generation(), 4);
}

#[test]
fn fresh_keys_must_be_what_is_due() {
    let (ring, published) = first();
    let now = after(start(), INTERVAL);
    let own = ring.key_versions()[1].clone();
    for wrong in [
        vec![],
        fresh(&[Algorithm::Es256]),
        fresh(&[ALGORITHM, ALGORITHM]),
        vec![own],
        ring.key_versions()[..1].to_vec(),
    ] {
        assert!(ring.rotated(&published, "v", wrong, now).is_err());
    }
}

/// **INV** no ring signs with or publishes a withdrawn kid.
#[test]
fn withdrawing_the_signing_key_makes_the_standby_sign_at_once() {
    let (ring, published) = first();
    let (gone, waiting) = (kid(&ring, start()), standby(&ring));
    let now = after(start(), 3_600);
    let withdrawal = Withdrawal::Key(gone.clone());
    let needed = ring.needed_after(&withdrawal, &published, now).unwrap();
    assert_eq!(needed, [ALGORITHM]);
    let (next, reports) = ring.without(&withdrawal, &published, "v", fresh(&needed), now).unwrap();
    assert_eq!(kid(&next, now), waiting);
    assert_ne!(standby(&next), waiting);
    assert!(next.get(&gone).is_none() && next.withdrawn().any(|kid| *kid == gone));
    let set = next.republished(&published, now).with_min_generation(next.generation());
    assert!(set.get(&gone).is_none() && set.get(&waiting).is_some());
    assert!(ring.permitted_by(&set).is_err() && next.permitted_by(&set).is_ok());
    let policy = RingPolicy::default();
    let latest = after(now, policy.lead_s / 2 + policy.skew_s + policy.max_token_ttl_s);
    assert_eq!(
        reports,
        [Withdrawn {
            kid: gone,
            foreign: false,
            signed_from: Some(start()),
            signed_until: Some(now),
            latest_exp: Some(latest)
        }]
    );
    assert!(KeyRing::parse(&next.to_json().unwrap()).is_ok());
}

#[test]
fn withdrawing_while_a_promoted_key_waits_starts_that_one() {
    let (ring, published) = first();
    let now = after(start(), INTERVAL);
    let (next, set) = rotate(&ring, &published, now);
    let (gone, promoted, waiting) = (kid(&next, now), standby(&ring), standby(&next));
    let withdrawal = Withdrawal::Key(gone);
    let needed = next.needed_after(&withdrawal, &set, now).unwrap();
    let (after_it, _) = next.without(&withdrawal, &set, "v", fresh(&needed), now).unwrap();
    assert_eq!((kid(&after_it, now), standby(&after_it)), (promoted, waiting));
    assert!(needed.is_empty());
}

#[test]
fn withdrawing_a_standby_or_everything() {
    let (ring, published) = first();
    let now = after(start(), 3_600);
    let gone = standby(&ring);
    let withdrawal = Withdrawal::Key(gone.clone());
    let (next, reports) = ring.without(&withdrawal, &published, "v", fresh(&[ALGORITHM]), now).unwrap();
    assert_eq!(kid(&next, now), kid(&ring, now));
    assert_eq!((reports[0].signed_from, reports[0].latest_exp), (None, None), "it never signed");

    let needed = ring.needed_after(&Withdrawal::All, &published, now).unwrap();
    assert_eq!(needed, [ALGORITHM, ALGORITHM]);
    let (next, reports) = ring.without(&Withdrawal::All, &published, "v", fresh(&needed), now).unwrap();
    assert_eq!(reports.len(), 2);
    let set = next.republished(&published, now);
    assert_eq!(set.len(), 2);
    assert!(ring.key_versions().iter().all(|key| set.get(key.kid()).is_none()));
    assert_eq!(next.active(ALGORITHM, now).unwrap().signs_from(), Some(now));
    let unknown = Withdrawal::Key(LocalSigner::generate(ALGORITHM).unwrap().public_key().kid().clone());
    let refused = next.without(&unknown, &set, "v", vec![], now).unwrap_err().to_string();
    assert!(refused.contains("expected a kid of the ring or of the published set"), "{refused}");
}

/// **INV** a key that the ring never had is withdrawn all the same, and costs no key that signs.
#[test]
fn a_planted_key_is_withdrawn_without_a_promotion() {
    let (ring, published) = first();
    let now = after(start(), 3_600);
    let planted = LocalSigner::generate(ALGORITHM).unwrap();
    let gone = planted.public_key().kid().clone();
    let entries = published.entries().cloned().chain([PublishedKey::new(planted.public_key().clone())]);
    let stored = KeySet::new(entries, 0);
    let withdrawal = Withdrawal::Key(gone.clone());
    assert_eq!(ring.needed_after(&withdrawal, &stored, now).unwrap(), []);
    let (next, reports) = ring.without(&withdrawal, &stored, "v", vec![], now).unwrap();
    let nothing =
        Withdrawn { kid: gone.clone(), foreign: true, signed_from: None, signed_until: None, latest_exp: None };
    assert_eq!(reports, [nothing]);
    assert_eq!((kid(&next, now), standby(&next)), (kid(&ring, now), standby(&ring)));
    let set = next.republished(&stored, now).with_min_generation(next.generation());
    assert!(set.get(&gone).is_none() && set.len() == 2);
    assert_eq!(next.republished(&stored, now).get(&gone), None, "planted again, it does not stay");
    // No ring document that has it is read.
    let mut with_it = next.clone();
    with_it.keys.push(KeyVersion::standby(planted));
    let refused = KeyRing::parse(&with_it.to_json().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("withdrawn"), "{refused}");
    // Everything is everything that is published.
    let needed = ring.needed_after(&Withdrawal::All, &stored, now).unwrap();
    let (next, reports) = ring.without(&Withdrawal::All, &stored, "v", fresh(&needed), now).unwrap();
    assert_eq!((reports.len(), next.republished(&stored, now).get(&gone)), (3, None));
}

/// **INV** an earlier withdrawal holds when somebody made a ring current that is older than it, and withdraws from that.
#[test]
fn a_withdrawal_from_a_void_ring_takes_with_it_what_was_withdrawn_before() {
    let (ring, published) = first();
    let (active, waiting, now) = (kid(&ring, start()), standby(&ring), after(start(), 3_600));
    let withdraw = |ring: &KeyRing, set: &KeySet, kid: &Kid| {
        let withdrawal = Withdrawal::Key(kid.clone());
        let needed = ring.needed_after(&withdrawal, set, now).unwrap();
        let (next, _) = ring.without(&withdrawal, set, "v", fresh(&needed), now).unwrap();
        let set = next.republished(set, now).with_min_generation(next.generation());
        (next, set)
    };
    let (second, set) = withdraw(&ring, &published, &active);
    let (third, set) = withdraw(&second, &set, &waiting);
    for old in [&ring, &second] {
        // The same kid again, though the void ring has it no more: it may be run again from everywhere.
        for again in [&active, set.keys().next().unwrap().kid()] {
            let known = old.get(again).is_some() || set.get(again).is_some() || old.withdrawn().any(|kid| kid == again);
            assert!(known, "a precondition");
            let (next, set) = withdraw(old, &set, again);
            for gone in [&active, &waiting] {
                assert!(next.get(gone).is_none() && set.get(gone).is_none());
                assert!(next.withdrawn().any(|kid| kid == gone));
            }
            assert!(next.permitted_by(&set).is_ok() && third.permitted_by(&set).is_err());
            assert!(next.active(ALGORITHM, now).is_some());
        }
    }
}

/// A ring that was current before a rollback is newer than the one that a key is withdrawn from, and has the key.
#[test]
fn a_withdrawal_after_a_rollback_makes_the_newer_rings_void_too() {
    let (first, mut set) = first();
    let mut newest = first.clone();
    let mut now = start();
    for _ in 0..3 {
        now = after(now, INTERVAL);
        (newest, set) = rotate(&newest, &set, now);
    }
    assert_eq!((newest.generation(), set.generation()), (4, 4));
    let withdrawal = Withdrawal::Key(standby(&first));
    let needed = first.needed_after(&withdrawal, &set, now).unwrap();
    let (next, _) = first.without(&withdrawal, &set, "v", fresh(&needed), now).unwrap();
    let set = next.republished(&set, now).with_min_generation(next.generation());
    assert!(newest.permitted_by(&set).is_err() && first.permitted_by(&set).is_err() && next.permitted_by(&set).is_ok());
    assert_eq!(KeySet::parse(set.to_stored_json().as_bytes()).unwrap(), set);
}

/// The ring may never become current: then the key that signs now must not have got an end.
#[test]
fn what_is_announced_only_adds_and_what_is_current_retires() {
    let (ring, published) = first();
    let old = kid(&ring, start());
    let now = after(start(), INTERVAL);
    let next = ring.rotated(&published, "v", fresh(&[ALGORITHM]), now).unwrap();
    let announced = next.announced(&published, now);
    assert_eq!(announced.len(), 3);
    assert_eq!(announced.entry(&old).unwrap().not_after, None);
    let retention = RingPolicy::default().retention_s;
    let current = next.republished(&announced, now);
    assert_eq!(current.entry(&old).unwrap().not_after, Some(after(now, 2 * RING_AGE_S + retention)));
    assert_eq!(next.announced(&current, now), current, "a repeated announcement takes nothing back");

    // A ring that becomes current after its key's time: issuers learn of it only now.
    let late = after(now, 86_400);
    let current = next.republished(&announced, late);
    assert_eq!(current.entry(&old).unwrap().not_after, Some(after(late, RING_AGE_S + retention)));
    assert_eq!(next.republished(&current, after(late, 60)), current, "counted once");
}

#[test]
fn a_key_that_was_gone_comes_back_as_new() {
    let (ring, _) = first();
    let waiting = standby(&ring);
    let gone = KeySet::new(
        ring.republished(&KeySet::default(), start()).entries().cloned().map(|entry| {
            let not_after = (*entry.key.kid() == waiting).then(|| after(start(), 60));
            PublishedKey { not_after, ..entry }
        }),
        0,
    );
    let now = after(start(), INTERVAL);
    for set in [ring.announced(&gone, now), ring.republished(&gone, now)] {
        assert_eq!(set.entry(&waiting).unwrap().published_at, Some(now));
    }
    let next = ring.rotated(&gone, "v", fresh(&[ALGORITHM]), now).unwrap();
    assert_eq!(next.get(&waiting).unwrap().signs_from(), Some(after(now, LEAD)));
}
