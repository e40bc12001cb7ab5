//! A verifier in the field: the good token must be accepted, every forgery refused.

use jiff::Timestamp;
use serde_json::Value;
use token_issuance::{DocumentSource as _, FileDocument};
use token_jose::{Expectation, KeyRing, KeySet, LocalSigner, sign_compact, verify};
use token_remote::{HttpsClient, RemoteUrl};

use super::forge::{Forgery, Parts};
use super::{Args, Probes};
use crate::operator::{Failure, Shell, token_input};

/// Names of the probes that need a token which only the issuer can sign.
const SIGNED: [&str; 4] =
    ["refuses-expired", "refuses-not-yet-valid", "refuses-wrong-audience", "refuses-wrong-issuer"];

/// Probes the token against `keys`, and the verifier at `--verify-url`. `token` comes with its audience.
pub(super) async fn look(
    client: &HttpsClient,
    args: &Args,
    keys: Option<&KeySet>,
    token: Option<(&str, &str)>,
    shell: &Shell<'_>,
    probes: &mut Probes,
) -> Result<(), Failure> {
    let now = shell.clock.now();
    let Some((token, audience)) = token else {
        probes.skipped("token", "no --token-file");
        probes.skipped("verifier", "no --token-file and --verify-url");
        return Ok(());
    };
    let Some(keys) = keys else {
        probes.skipped("token", "no usable key set to judge it by");
        probes.skipped("verifier", "no usable key set to make forgeries with");
        return Ok(());
    };
    let expect = Expectation::new(&args.url, audience, &["JWT", "at+jwt"]);
    match verify(token, keys, &expect, now) {
        Ok(verified) => probes.ok("token", format!("verifies with the published key {}", verified.kid())),
        Err(error) => probes.failed("token", format!("{} ({})", error, error.code())),
    }
    let Some(url) = &args.verify_url else {
        probes.skipped("verifier", "no --verify-url");
        return Ok(());
    };
    let accepted = match status(client, url, Some(token)).await {
        Ok(status @ 200..300) => {
            probes.ok("accepts-the-token", format!("HTTP {status}"));
            true
        }
        Ok(status) => {
            probes.failed("accepts-the-token", format!("expected 2xx, found {status}"));
            false
        }
        Err(problem) => {
            probes.failed("accepts-the-token", problem);
            false
        }
    };
    if !accepted {
        probes.skipped("refuses-forgeries", "a verifier that refuses the good token proves nothing by refusing others");
        return Ok(());
    }
    match status(client, url, None).await {
        Ok(401) => probes.ok("refuses-no-token", "HTTP 401"),
        outcome => refused("refuses-no-token", outcome, probes),
    }
    let parts = Parts::of(token);
    let public = parts.as_ref().and_then(|parts| keys.get(&parts.kid().parse().ok()?));
    let (Some(parts), Some(public)) = (&parts, public) else {
        probes.skipped("refuses-forgeries", "the token's key is not in the key set");
        return Ok(());
    };
    let own = LocalSigner::generate(public.algorithm())
        .map_err(|error| Failure::try_again(format!("expected a key to forge with, found: {error}")))?;
    for Forgery { name, token } in parts.forgeries(public, &own) {
        refused(probe_name(name), status(client, url, Some(&token)).await, probes);
    }
    signed(client, url, args, parts, keys, now, probes).await
}

/// Tokens that are good but for one claim: made with the issuer's ring, or kept from earlier.
async fn signed(
    client: &HttpsClient,
    url: &RemoteUrl,
    args: &Args,
    parts: &Parts,
    keys: &KeySet,
    now: Timestamp,
    probes: &mut Probes,
) -> Result<(), Failure> {
    let mut tokens: Vec<(&'static str, String)> = Vec::new();
    if let Some(path) = &args.ring {
        let document =
            FileDocument::new(path).read().await.map_err(|error| Failure::data(format!("--ring: {error}")))?;
        let ring = KeyRing::parse(document.bytes()).map_err(|error| Failure::data(format!("--ring: {error}")))?;
        let active = ring.active(ring.default_algorithm(), now);
        let published = active.filter(|key| keys.contains(key.public_key())).and_then(|key| key.signer());
        let Some(signer) = published else {
            return Err(Failure::data(
                "--ring: expected the ring of this issuer, with its private halves in it, found another one",
            ));
        };
        for (name, claims) in parts.misdirected(now) {
            let claims = Value::Object(claims).to_string();
            let token = sign_compact(signer.as_ref(), parts.typ(), claims.as_bytes()).await.map_err(Failure::data)?;
            tokens.push((probe_name(name), token.into_string()));
        }
    }
    for (name, path) in [("expired", &args.expired_token_file), ("wrong-audience", &args.other_audience_token_file)] {
        if let (Some(path), false) = (path, tokens.iter().any(|(probe, _)| *probe == probe_name(name))) {
            tokens.push((probe_name(name), token_input::from_file(path)?.to_string()));
        }
    }
    for name in SIGNED {
        match tokens.iter().find(|(probe, _)| *probe == name) {
            Some((_, token)) => refused(name, status(client, url, Some(token)).await, probes),
            // With a broken signature it would be refused for that, and show nothing.
            None => probes.skipped(name, "only the issuer can sign such a token: give --ring, or a token file"),
        }
    }
    Ok(())
}

fn probe_name(forgery: &str) -> &'static str {
    match forgery {
        "alg-none" => "refuses-alg-none",
        "no-signature" => "refuses-no-signature",
        "tampered-signature" => "refuses-tampered-signature",
        "tampered-claims" => "refuses-tampered-claims",
        "hs256-public-pem" => "refuses-hs256-public-pem",
        "hs256-public-der" => "refuses-hs256-public-der",
        "foreign-key" => "refuses-foreign-key",
        "foreign-kid" => "refuses-foreign-kid",
        "embedded-jwk" => "refuses-embedded-jwk",
        "expired" => "refuses-expired",
        "not-yet-valid" => "refuses-not-yet-valid",
        "wrong-audience" => "refuses-wrong-audience",
        "wrong-issuer" => "refuses-wrong-issuer",
        _ => "refuses-forgery",
    }
}

fn refused(name: &'static str, outcome: Result<u16, String>, probes: &mut Probes) {
    match outcome {
        Ok(status @ (401 | 403)) => probes.ok(name, format!("HTTP {status}")),
        Ok(status @ 200..300) => probes.failed(name, format!("ACCEPTED with {status}; expected 401 or 403")),
        Ok(status) => probes.failed(name, format!("expected 401 or 403, found {status}")),
        Err(problem) => probes.failed(name, problem),
    }
}

async fn status(client: &HttpsClient, url: &RemoteUrl, token: Option<&str>) -> Result<u16, String> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    client.get(url, &headers).await.map(|reply| reply.status).map_err(|error| error.to_string())
}
