//! The issuer's documents, as any stranger gets them.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde_json::{Map, Value};
use token_remote::{HttpsClient, RemoteError, RemoteUrl, Reply};

use super::Probes;
use crate::file::quoted;
use crate::operator::Shell;

/// How often the key set is fetched: every replica and cache on the way must answer alike.
const FETCHES: usize = 3;

/// Probes metadata, key set, caching and clock; the key set's bytes when there is one.
pub(super) async fn look(
    client: &HttpsClient,
    issuer: &str,
    url: &RemoteUrl,
    max_offset_s: u64,
    shell: &Shell<'_>,
    probes: &mut Probes,
) -> Option<Vec<u8>> {
    let openid = document(client, joined(url, ".well-known/openid-configuration"), "metadata-openid", probes).await;
    let oauth = document(client, before_path(url, "oauth-authorization-server"), "metadata-oauth", probes).await;
    if url.as_str().starts_with("https:") {
        if openid.is_some() || oauth.is_some() {
            probes.ok("tls", "the certificate verifies");
        } else {
            probes.skipped("tls", "no answer to judge by");
        }
    } else {
        probes.skipped("tls", "plain http on loopback: for development only");
    }
    let found: Vec<&Map<String, Value>> = [&openid, &oauth].into_iter().flatten().collect();
    if found.is_empty() {
        probes.skipped("issuer-name", "no metadata");
        probes.skipped("key-set", "no metadata names it");
        return None;
    }
    let mut problems = Vec::new();
    for document in &found {
        let named = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        if named != issuer {
            problems.push(format!("expected issuer {}, found {}", quoted(issuer), quoted(named)));
        }
    }
    probes.judge("issuer-name", "equal to the URL, byte by byte", &problems);
    let places: Vec<&str> = found.iter().filter_map(|document| document.get("jwks_uri")?.as_str()).collect();
    let place = match places.as_slice() {
        [] => {
            probes.failed("key-set", "expected jwks_uri in the metadata, found none");
            return None;
        }
        [first, rest @ ..] if rest.iter().all(|other| other == first) => *first,
        _ => {
            probes.failed("key-set", "expected one jwks_uri, found different ones in the two documents");
            return None;
        }
    };
    match place.parse::<RemoteUrl>() {
        Ok(place) => fetch(client, &place, max_offset_s, shell, probes).await,
        Err(error) => {
            probes.failed("key-set", format!("jwks_uri: {error}"));
            None
        }
    }
}

/// `/.well-known/NAME` between the host and the issuer's path (RFC 8414 section 3.1).
fn before_path(url: &RemoteUrl, name: &str) -> Result<RemoteUrl, String> {
    let text = url.as_str();
    let start = text.find("://").map_or(0, |at| at + 3);
    let (host, path) = match text.get(start..).and_then(|rest| rest.find('/')) {
        Some(slash) => text.split_at(start + slash),
        None => (text, ""),
    };
    let whole = format!("{host}/.well-known/{name}{}", path.trim_end_matches('/'));
    whole.parse().map_err(|error| format!("{error}"))
}

fn joined(url: &RemoteUrl, path: &str) -> Result<RemoteUrl, String> {
    url.join(path).map_err(|error| error.to_string())
}

async fn document(
    client: &HttpsClient,
    url: Result<RemoteUrl, String>,
    name: &'static str,
    probes: &mut Probes,
) -> Option<Map<String, Value>> {
    let url = match url {
        Ok(url) => url,
        Err(problem) => {
            probes.failed(name, problem);
            return None;
        }
    };
    let reply = client.get(&url, &[("accept", "application/json")]).await.and_then(Reply::success);
    match reply.and_then(|reply| Ok((reply.json()?, reply))) {
        Ok((Value::Object(members), reply)) => {
            if is_json(&reply) {
                probes.ok(name, url.as_str());
            } else {
                probes.failed(
                    name,
                    format!("expected content type application/json, found {}", header(&reply, "content-type")),
                );
            }
            Some(members)
        }
        Ok(_) => {
            probes.failed(name, "expected a JSON object, found another value");
            None
        }
        // One of the two documents is enough for a stranger; ours has both.
        Err(RemoteError::Status { status: 404, .. }) if name == "metadata-oauth" => {
            probes.skipped(name, "404: only the OpenID document is there");
            None
        }
        Err(error) => {
            probes.failed(name, error.to_string());
            None
        }
    }
}

async fn fetch(
    client: &HttpsClient,
    place: &RemoteUrl,
    max_offset_s: u64,
    shell: &Shell<'_>,
    probes: &mut Probes,
) -> Option<Vec<u8>> {
    let headers = [("accept", "application/json")];
    let reply = match client.get(place, &headers).await.and_then(Reply::success) {
        Ok(reply) => reply,
        Err(error) => {
            probes.failed("key-set", error.to_string());
            return None;
        }
    };
    let now = shell.clock.now();
    if is_json(&reply) {
        probes.ok("key-set", place.as_str());
    } else {
        let found = header(&reply, "content-type");
        probes.failed("key-set", format!("expected application/json or application/jwk-set+json, found {found}"));
    }
    cache(&reply, probes);
    etag(client, place, &reply, probes).await;
    clock(&reply, now, max_offset_s, probes);
    let mut different = Vec::new();
    for _ in 1..FETCHES {
        match client.get(place, &headers).await.and_then(Reply::success) {
            Ok(again) if again.body == reply.body => {}
            Ok(_) => different.push("expected the same key set each time, found different ones".to_owned()),
            Err(error) => different.push(error.to_string()),
        }
    }
    different.dedup();
    probes.judge("key-set-steady", format!("{FETCHES} fetches alike"), &different);
    Some(reply.body.to_vec())
}

fn cache(reply: &Reply, probes: &mut Probes) {
    let value = header(reply, "cache-control");
    let directives: Vec<String> = value.split(',').map(|part| part.trim().to_ascii_lowercase()).collect();
    let max_age = directives.iter().find_map(|part| part.strip_prefix("max-age=")?.parse::<u64>().ok());
    let mut problems = Vec::new();
    for bad in ["no-store", "private", "no-cache"] {
        if directives.iter().any(|part| part == bad) {
            problems.push(format!("expected a key set that caches may keep, found {bad}"));
        }
    }
    match max_age {
        None => problems.push("expected max-age, found none: every verifier guesses".to_owned()),
        Some(0) => problems.push("expected max-age above 0, found 0: every token costs a fetch".to_owned()),
        Some(age) if age > 86_400 => {
            problems.push(format!("expected max-age of at most a day, found {age} s: a withdrawn key lives as long"));
        }
        Some(_) => {}
    }
    probes.judge("cache-control", quoted(&value), &problems);
}

async fn etag(client: &HttpsClient, place: &RemoteUrl, reply: &Reply, probes: &mut Probes) {
    let etag = header(reply, "etag");
    if etag.is_empty() || etag.starts_with("W/") {
        let found = if etag.is_empty() { "none".to_owned() } else { quoted(&etag) };
        probes.failed("etag", format!("expected a strong ETag, found {found}"));
        return;
    }
    match client.get(place, &[("accept", "application/json"), ("if-none-match", &etag)]).await {
        Ok(again) if again.status == 304 && again.body.is_empty() => {
            probes.ok("etag", "strong, and 304 when nothing changed");
        }
        Ok(again) => probes.failed("etag", format!("expected 304 to If-None-Match, found {}", again.status)),
        Err(error) => probes.failed("etag", error.to_string()),
    }
}

fn clock(reply: &Reply, now: Timestamp, max_offset_s: u64, probes: &mut Probes) {
    let date = header(reply, "date");
    if date.is_empty() {
        probes.skipped("clock", "the answer has no Date");
        return;
    }
    match rfc2822::parse(&date) {
        Ok(time) => {
            let mut offset = time.timestamp().duration_since(now).as_secs();
            // A cached answer is as old as its Age says.
            if let Ok(age) = header(reply, "age").parse::<i64>() {
                offset = offset.saturating_add(age);
            }
            if offset.unsigned_abs() <= max_offset_s {
                probes.ok("clock", format!("{offset} s from this machine's"));
            } else {
                probes.failed(
                    "clock",
                    format!("expected at most {max_offset_s} s from this machine's clock, found {offset}"),
                );
            }
        }
        Err(_) => probes.failed("clock", format!("expected an HTTP date, found {}", quoted(&date))),
    }
}

fn is_json(reply: &Reply) -> bool {
    let value = header(reply, "content-type").to_ascii_lowercase();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence == "application/json" || essence == "application/jwk-set+json"
}

fn header(reply: &Reply, name: &str) -> String {
    reply.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
