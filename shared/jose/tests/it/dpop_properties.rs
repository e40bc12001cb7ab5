//! Proofs of possession: that a memory until `until` closes the replay, and that nonces and normal forms are what they say.

use jiff::SignedDuration;
use proptest::prelude::*;
use token_jose::{Algorithm, Htu, Nonces, ProofExpectation, verify_proof};

use crate::dpop::{at, claims, expect, header};
use crate::support::{now, signer, token, with};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// Whenever a proof is accepted, it says the same `until`; and from `until` on it is refused.
    #[test]
    fn a_replay_entry_until_until_closes_the_replay(
        iat in -1_000_i64..1_000, nonce_at in prop::option::of(-1_000_i64..1_000), required in any::<bool>(),
        looks in prop::collection::vec(-2_000_i64..2_000, 1..40), millis in 0_i64..1000, has_nonces in any::<bool>(),
    ) {
        let nonces = Nonces::new(&[3; 32]);
        let base = now().as_second();
        let mut payload = with(claims(), "iat", (base + iat).into());
        if let Some(offset) = nonce_at {
            payload = with(payload, "nonce", nonces.issue(at(base + offset)).into());
        }
        let proof = token(signer(Algorithm::EdDsa), &header(signer(Algorithm::EdDsa)).to_string(), &payload.to_string());
        let nonces = has_nonces.then_some(&nonces);
        let expect = ProofExpectation { nonces, nonce_required: required, ..expect() };
        let look = |offset: i64| at(base + offset) + SignedDuration::from_millis(millis);
        let mut untils = Vec::new();
        // Random moments, and those where windows begin and end.
        let edges = [iat - 11, iat - 10, iat + 60, iat + 61, nonce_at.unwrap_or(0)].into_iter();
        for now in looks.into_iter().chain(edges).map(look) {
            if let Ok(judged) = verify_proof(&proof, &expect, now) {
                prop_assert!(now < judged.until(), "accepted at {now}, until {}", judged.until());
                untils.push(judged.until());
            }
        }
        untils.dedup();
        prop_assert!(untils.len() <= 1, "{untils:?}");
        if let Some(until) = untils.first() {
            // The window is exact: a moment before, accepted; from then on, never again.
            let before = *until - SignedDuration::from_nanos(1);
            prop_assert!(verify_proof(&proof, &expect, before).is_ok());
            for later_s in [0, 1, 59, 60, 61, 299, 300, 301, 360, 3600, 86_400] {
                prop_assert!(verify_proof(&proof, &expect, *until + SignedDuration::from_secs(later_s)).is_err());
            }
        }
    }

    #[test]
    fn a_nonce_is_accepted_five_minutes_and_never_one_of_another_secret(
        secret in any::<[u8; 32]>(), other in any::<[u8; 32]>(), second in 0_i64..4_000_000_000, age in -120_i64..600,
        text in "[A-Za-z0-9_-]{0,40}",
    ) {
        prop_assume!(secret != other);
        let (ours, theirs) = (Nonces::new(&secret), Nonces::new(&other));
        let issued = ours.issue(at(second));
        let own_time = at(second - second % 60);
        prop_assert_eq!(ours.check(&issued, at(second)), Some(own_time));
        prop_assert_eq!(theirs.check(&issued, at(second)), None);
        prop_assert_eq!(ours.check(&text, at(second)), None);
        let later = at((second + age).max(0));
        match ours.check(&issued, later) {
            Some(found) => {
                prop_assert!(found == own_time && later < Nonces::ends(own_time));
                prop_assert!(own_time <= later + SignedDuration::from_mins(1), "a replica's clock, not a far future");
            }
            None => prop_assert!(age < 0 || age >= 300 && later >= Nonces::ends(own_time)),
        }
        if (0..300).contains(&age) {
            prop_assert!(ours.check(&issued, later).is_some(), "five minutes from when it was handed out");
        }
    }

    #[test]
    fn a_changed_nonce_is_none(at_byte in 0_usize..34, byte in any::<u8>()) {
        let nonces = Nonces::new(&[9; 32]);
        let issued = nonces.issue(now());
        let mut bytes = issued.clone().into_bytes();
        let place = at_byte % bytes.len();
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        prop_assert_eq!(nonces.check(&String::from_utf8_lossy(&bytes), now()), None);
    }

    #[test]
    fn normal_form_is_a_fixed_point(path in "(/[a-zA-Z0-9%._~!$&'()*+,;=:@-]{0,6}){0,5}", host in "[a-zA-Z0-9.%-]{1,12}", port in any::<u16>()) {
        if let Ok(htu) = Htu::parse(&format!("https://{host}:{port}{path}?q#f")) {
            prop_assert_eq!(Htu::parse(htu.as_str()).unwrap(), htu.clone());
            let rest = htu.as_str().strip_prefix("https://").unwrap();
            let path = rest.get(rest.find('/').unwrap()..).unwrap();
            prop_assert!(!path.split('/').any(|segment| segment == "." || segment == ".."), "{htu}");
        }
    }

    #[test]
    fn no_proof_panics(header in ".{0,60}", payload in ".{0,60}", text in any::<String>()) {
        let _ = verify_proof(&text, &expect(), now());
        let _ = verify_proof(&token(signer(Algorithm::EdDsa), &header, &payload), &expect(), now());
        let good = self::header(signer(Algorithm::EdDsa)).to_string();
        let _ = verify_proof(&token(signer(Algorithm::EdDsa), &good, &payload), &expect(), now());
        let _ = Htu::parse(&text);
        let _ = Nonces::new(&[0; 32]).check(&text, now());
    }
}

#[test]
fn configured_uris_are_refused_for_what_they_are() {
    for (uri, said) in [
        ("ftp://a.example/", "schemes"),
        ("https:///path", "a host"),
        ("https://user:pw@a.example/", "user information"),
        ("https://a.example:99999/", "port"),
        ("https://a.example:x/", "port"),
        ("https://[::g]/", "IPv6"),
        ("https://a.example/%zz", "percent-encoded"),
        ("https://a.example/ä", "characters"),
        ("https://a.example/a b", "characters"),
        ("https://a.example/?\u{7f}", "characters"),
        ("a.example", "scheme"),
    ] {
        let error = Htu::parse(uri).unwrap_err().to_string();
        assert!(error.contains(said), "{uri}: {error}");
    }
    assert!(Htu::parse(&format!("https://a.example/{}", "x".repeat(3000))).is_err());
    for (uri, normal) in [
        ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]/"),
        ("http://LOCALHOST:80", "http://localhost/"),
        ("http://127.0.0.1:9000/v1/token", "http://127.0.0.1:9000/v1/token"),
        ("https://a.example:0443/x", "https://a.example/x"),
        ("https://a.example/%c3%a4/%2f/..", "https://a.example/%C3%A4/"),
        ("https://a.example/../../x/.", "https://a.example/x/"),
        ("https://a.example/a//b/..", "https://a.example/a//"),
        ("https://a.example/%2e%2e/x", "https://a.example/x"),
        ("https://%41.example/A", "https://a.example/A"),
        ("https://%c3.example/", "https://%C3.example/"),
    ] {
        assert_eq!(Htu::parse(uri).unwrap().as_str(), normal, "{uri}");
    }
}

/// Computed with Python's hmac from the words of nonce.rs: replicas of different versions must agree.
#[test]
fn a_nonce_is_the_mac_of_its_step_for_this_purpose_alone() {
    let secret: [u8; 32] = std::array::from_fn(|index| u8::try_from(index).unwrap());
    let nonces = Nonces::new(&secret);
    assert_eq!(nonces.issue(now()), "AQAAAAAByJSwASeGwdzUG3S-tBiLPsdobw");
    // The same secret's MAC of the bare step, and the same tag under another version.
    for other in ["AQAAAAAByJSwZH5v2FNwBuYaMFiIiQ7V3A", "AgAAAAAByJSwASeGwdzUG3S-tBiLPsdobw"] {
        assert_eq!(nonces.check(other, now()), None);
    }
    assert_eq!(format!("{nonces:?}"), "Nonces(secret hidden)");
}
