//! nginx's `auth_request`.

use serde_json::json;
use token_testkit::{Curl, Nginx, wait_until};

use super::{API, PATIENCE, Service, Upstream, assert_identity, bearer, deployed, forged, key, proof, status};

#[test]
fn auth_request_decides_by_the_original_method_and_path() {
    let service = Service::start(&[("AUTHORIZE_MODE", "nginx")]);
    let upstream = Upstream::start();
    let address = service.http.replacen("http://", "", 1);
    let configure = |port: u16| {
        let listen = format!("listen 10000=>listen 127.0.0.1:{port}");
        deployed(
            "nginx/nginx.conf",
            &listen,
            &[("token-service:8080", &address), ("upstream:8081", &upstream.address())],
        )
    };
    let Some(nginx) = Nginx::start(configure) else { return };
    let url = |path: &str| format!("{}{path}", nginx.url());
    let token = service.token(&json!({"rate_limit": 1000}), None);
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        for path in ["/", "/a/b/c?x=1", "/a%2Fb", "/a//b", "/a/../b", "/tokens"] {
            let request = forged(bearer(Curl::new(method, &url(path)), &token));
            let request = request.header("X-Original-URI", "/other").header("X-Original-Method", "GET");
            status(&request.send(), 200, &format!("{method} {path}"));
            let seen = upstream.last();
            assert_eq!((seen.method.as_str(), seen.path.as_str()), (method, path));
            assert_identity(&seen, &[("x-user-id", "alice"), ("x-subject", "user_alice")]);
        }
    }
    let before = upstream.count();
    let none = Curl::get(&url("/x")).send();
    status(&none, 401, "nothing");
    assert!(none.header("www-authenticate").is_some());
    let parent = service.post("/token-pairs", &json!({"user_id": "alice"}), None);
    status(&bearer(Curl::get(&url("/x")), parent["parent_token"].as_str().unwrap()).send(), 403, "a parent");
    status(&Curl::get(&url("/.authorize")).send(), 404, "the question itself is nobody's to ask");
    assert_eq!(upstream.count(), before);

    let key = key();
    let mint = format!("{}/tokens", service.http);
    let bound = service.token(&json!({}), Some(&proof(&key, &json!({"htm": "POST", "htu": mint}))));
    let ath = super::base64url(&super::sha256(bound.as_bytes()));
    let mut claims = json!({"htm": "PUT", "htu": format!("{API}/orders/7"), "ath": ath});
    let ask = |proof: &str| {
        let request = Curl::new("PUT", &url("/orders/7")).header("Authorization", &format!("DPoP {bound}"));
        request.header("DPoP", proof).send()
    };
    let first = proof(&key, &claims);
    status(&ask(&first), 200, "with its proof");
    status(&ask(&first), 401, "a replay");
    claims["iat"] = json!(1);
    let stale = ask(&proof(&key, &claims));
    status(&stale, 401, "a wrong clock");
    assert!(stale.header("dpop-nonce").is_some());

    let limited = service.token(&json!({"rate_limit": 1}), None);
    status(&bearer(Curl::get(&url("/x")), &limited).send(), 200, "once");
    let slower = bearer(Curl::get(&url("/x")), &limited).send();
    status(&slower, 429, "twice");
    assert!(slower.header("retry-after").is_some());

    service.process.pause();
    let unknown = wait_until("the service to hang", PATIENCE, || {
        Some(bearer(Curl::get(&url("/x")), &token).send()).filter(|reply| reply.status != 200)
    });
    status(&unknown, 503, "a service that hangs");
    service.process.resume();
}
