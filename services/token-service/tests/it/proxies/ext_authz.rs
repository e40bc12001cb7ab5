//! Envoy's `ext_authz`, in both modes.

use std::time::{Duration, Instant};

use serde_json::json;
use token_testkit::{Curl, Envoy, wait_until};

use super::{API, PATIENCE, Service, Upstream, assert_identity, bearer, envoy, forged, key, proof, status};

const MODES: [&str; 2] = ["ext-authz-grpc.yaml", "ext-authz-http.yaml"];

/// Service, upstream, and Envoy between clients and it.
fn behind(mode: &str, change: impl Fn(String) -> String) -> Option<(Service, Upstream, Envoy)> {
    let (service, upstream) = (Service::start(&[]), Upstream::start());
    let envoy = Envoy::start(|port| change(envoy(mode, &service, &upstream.address(), port)))?;
    Some((service, upstream, envoy))
}

#[test]
fn any_method_and_any_path_is_decided_and_no_identity_of_the_clients_own_passes() {
    // Envoy itself refuses methods that it does not know; with its switch for them they are decided as all others are.
    let any_method = |text: String| {
        text.replace(
            "use_remote_address: true",
            "use_remote_address: true\n                http_protocol_options: { allow_custom_methods: true }",
        )
    };
    for mode in MODES {
        let Some((service, upstream, envoy)) = behind(mode, any_method) else { return };
        let token = service.token(&json!({"rate_limit": 100_000}), None);
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE", "BREW"] {
            for path in [
                "/",
                "/orders/7/lines/9/notes/1/a/b/c/d/e",
                "/a%2Fb%2f..%2F",
                "/a/../b/./c",
                "/a/%2e%2e/b",
                "/a//b///",
                "/tokens",
                "/authorize/../tokens",
                "/%ff%00",
                "/a?x=/../y&z=%20",
            ] {
                let before = upstream.count();
                let request = forged(bearer(Curl::new(method, &format!("{}{path}", envoy.url())), &token));
                let reply = request.send();
                if path.contains("%00") {
                    // Refused by Envoy before anybody is asked, or passed on as it is.
                    assert!([200, 400].contains(&reply.status), "{mode} {method} {path}");
                } else {
                    status(&reply, 200, &format!("{mode} {method} {path}"));
                }
                if reply.status == 200 {
                    let seen = upstream.last();
                    assert_eq!((seen.method.as_str(), seen.path.as_str()), (method, path), "{mode}");
                    let network = ("x-network", "default");
                    assert_identity(&seen, &[("x-user-id", "alice"), ("x-subject", "user_alice"), network]);
                }
                // The same without a token reaches nobody.
                let refused = Curl::new(method, &format!("{}{path}", envoy.url())).send();
                assert!([400, 401].contains(&refused.status), "{mode} {method} {path}: {}", refused.status);
                assert_eq!(upstream.count(), before + usize::from(reply.status == 200), "{mode} {method} {path}");
            }
        }
    }
}

#[test]
fn unauthenticated_forbidden_limited_and_unavailable_are_kept_apart() {
    for mode in MODES {
        let Some((service, upstream, envoy)) = behind(mode, |text| text) else { return };
        let ask = |token: &str| bearer(Curl::get(&format!("{}/x", envoy.url())), token).send();

        let none = Curl::get(&format!("{}/x", envoy.url())).send();
        status(&none, 401, mode);
        let challenges = none.headers("www-authenticate").join(", ");
        assert!(challenges.contains("Bearer realm") && challenges.contains("DPoP algs"), "{mode}: {challenges}");
        assert!(none.header("x-decision-id").is_some(), "{mode}");
        let garbage = ask("garbage");
        status(&garbage, 401, mode);
        assert!(garbage.headers("www-authenticate").join(", ").contains("error=\"invalid_token\""), "{mode}");

        let token = service.token(&json!({}), None);
        let twice = bearer(bearer(Curl::get(&format!("{}/x", envoy.url())), &token), &token).send();
        status(&twice, 401, "two credentials");
        let underscore = bearer(Curl::get(&format!("{}/x", envoy.url())), &token).header("X_User_Id", "forged").send();
        status(&underscore, 400, "an identity header in disguise");

        let parent = service.post("/token-pairs", &json!({"user_id": "alice"}), None);
        status(&ask(parent["parent_token"].as_str().unwrap()), 403, mode);
        let made = service.post("/tokens", &json!({"user_id": "bob"}), None);
        let (revoked, id) = (made["token"].as_str().unwrap(), made["token_id"].as_str().unwrap());
        status(&ask(revoked), 200, mode);
        let gone = Curl::new("DELETE", &format!("{}/tokens/{id}", service.http));
        assert!(gone.header("Authorization", &format!("Bearer {}", service.api_key)).send().status < 300);
        status(&ask(revoked), 403, mode);

        let limited = service.token(&json!({"rate_limit": 1}), None);
        status(&ask(&limited), 200, mode);
        let slower = ask(&limited);
        status(&slower, 429, mode);
        assert!(slower.header("retry-after").is_some(), "{mode}");

        // A service that hangs: nothing passes, nothing waits for long, and nobody is told that the token is bad.
        let before = upstream.count();
        service.process.pause();
        let start = Instant::now();
        let unknown =
            wait_until("the service to hang", PATIENCE, || Some(ask(&token)).filter(|reply| reply.status != 200));
        status(&unknown, 503, mode);
        assert!(start.elapsed() < Duration::from_secs(20), "{mode}: {:?}", start.elapsed());
        assert!(upstream.count() - before <= 2, "{mode}: what was on its way when it stopped");
        service.process.resume();
        wait_until("the service to go on", PATIENCE, || (ask(&token).status == 200).then_some(()));
    }
}

#[test]
fn a_bound_token_passes_with_its_proof_once() {
    for mode in MODES {
        let Some((service, upstream, envoy)) = behind(mode, |text| text) else { return };
        let key = key();
        let mint = format!("{}/tokens", service.http);
        let token = service.token(&json!({}), Some(&proof(&key, &json!({"htm": "POST", "htu": mint}))));
        let ath = super::base64url(&super::sha256(token.as_bytes()));
        let claims = json!({"htm": "PUT", "htu": format!("{API}/orders/7"), "ath": ath});
        let ask = |scheme: &str, proofs: &[&str]| {
            let url = format!("{}/orders/7?page=1", envoy.url());
            let mut request = Curl::new("PUT", &url).header("Authorization", &format!("{scheme} {token}"));
            for proof in proofs {
                request = request.header("DPoP", proof);
            }
            forged(request).send()
        };
        let first = proof(&key, &claims);
        let passed = ask("DPoP", &[&first]);
        status(&passed, 200, mode);
        assert!(passed.header("dpop-nonce").is_some(), "{mode}: a nonce comes with success");
        assert_identity(&upstream.last(), &[("x-token-jkt", key.public_key().kid().as_str())]);
        let passed = upstream.count();
        let replayed = ask("DPoP", &[&first]);
        status(&replayed, 401, "a replay");
        assert!(replayed.header("www-authenticate").unwrap().contains("invalid_dpop_proof"), "{mode}");
        status(&ask("Bearer", &[]), 401, "as bearer");
        status(&ask("Bearer", &[&proof(&key, &claims)]), 401, "as bearer with a proof");
        status(&ask("DPoP", &[]), 401, "without a proof");
        let two = [proof(&key, &claims), proof(&key, &claims)];
        status(&ask("DPoP", &[&two[0], &two[1]]), 401, "two proofs");
        let mut old = claims.clone();
        old["iat"] = json!(1);
        let stale = ask("DPoP", &[&proof(&key, &old)]);
        status(&stale, 401, "a wrong clock");
        assert!(stale.header("www-authenticate").unwrap().contains("use_dpop_nonce"), "{mode}");
        old["nonce"] = json!(stale.header("dpop-nonce").expect("a nonce is passed back"));
        assert_eq!(upstream.count(), passed, "{mode}: none of them reached the upstream");
        status(&ask("DPoP", &[&proof(&key, &old)]), 200, "healed by the nonce");
    }
}

#[test]
fn reasons_are_in_the_dynamic_metadata_of_allows_and_denials() {
    let Some((service, _upstream, envoy)) = behind("ext-authz-grpc.yaml", |text| text) else { return };
    let url = format!("{}/x", envoy.url());
    status(&Curl::get(&url).send(), 401, "without a token");
    status(&bearer(Curl::get(&url), &service.token(&json!({}), None)).send(), 200, "with one");
    // Envoy writes its access log every ten seconds.
    for line in [r#""reason":"missing_token""#, r#""reason":"allowed""#, r#""subject":"user_alice""#] {
        wait_until(line, PATIENCE, || envoy.output().contains(line).then_some(()));
    }
}
