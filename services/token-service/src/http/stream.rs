//! `GET /tokens/stream`: the latest child as server-sent events, from any replica.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;
use token_server::{RetryAfter, Streaming};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::warn;

use super::error::{Face, Problem};
use super::parents::latest_response;
use super::{Door, StreamOptions, answer};
use crate::observe::{Decision, Outcome};
use crate::service::{GrantProblem, ServiceError, TokenService};
use crate::store::{Family, TokenId};

/// The most streams of one parent at once.
const STREAMS_PER_PARENT: usize = 16;

/// `GET /tokens/stream`.
pub(super) async fn open(State(door): State<Door>, request: Request) -> Response {
    let mut decision = door.decision("tokens.stream");
    let (parts, _) = request.into_parts();
    match door.subscribe(&parts, &mut decision).await {
        Ok(feed) => {
            door.observe().record(&decision, Outcome::Done("streaming"));
            let events = Events::new(Arc::clone(&door.0.service), feed, last_seen(&parts), door.0.options.streams);
            answer::decided(response(events), &decision)
        }
        Err(problem) => door.refuse(&decision, &problem, Face::Parent),
    }
}

impl Door {
    async fn subscribe(&self, parts: &Parts, decision: &mut Decision) -> Result<watch::Receiver<Feed>, Problem> {
        let family = self.presented_parent(parts, decision).await?;
        self.0.hub.subscribe(family).ok_or(Problem::Limited(RetryAfter::new(Duration::from_secs(30))))
    }
}

/// The last event that a reconnecting client has seen; what is no number of ours is none.
fn last_seen(parts: &Parts) -> u64 {
    let value = parts.headers.get("last-event-id").and_then(|value| value.to_str().ok());
    value.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// What is known of a family.
#[derive(Clone, Debug)]
enum Feed {
    /// Nothing yet.
    Pending,
    /// Its latest child, as an event.
    Token { seq: u64, event: Bytes },
    /// It is dead.
    Ended(&'static str),
}

/// One look at the store per family and interval, however many streams it has on this replica.
pub(super) struct Hub {
    service: Arc<TokenService>,
    options: StreamOptions,
    families: Arc<Mutex<HashMap<TokenId, watch::Sender<Feed>>>>,
}

impl Hub {
    pub(super) fn new(service: Arc<TokenService>, options: StreamOptions) -> Self {
        Self { service, options, families: Arc::default() }
    }

    /// A receiver of the family's state; `None` when it has too many already.
    fn subscribe(&self, family: Family) -> Option<watch::Receiver<Feed>> {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = families.get(&family.id) {
            if sender.receiver_count() >= STREAMS_PER_PARENT {
                return None;
            }
            // A poller that is about to end is gone from the map, under this same lock.
            return Some(sender.subscribe());
        }
        let (sender, receiver) = watch::channel(Feed::Pending);
        families.insert(family.id, sender.clone());
        let (service, all, poll) = (Arc::clone(&self.service), Arc::clone(&self.families), self.options.poll);
        tokio::spawn(async move {
            follow(&service, &family, &sender, &all, poll).await;
        });
        Some(receiver)
    }
}

/// Follows a family until it dies or nobody listens.
async fn follow(
    service: &TokenService,
    family: &Family,
    sender: &watch::Sender<Feed>,
    all: &Mutex<HashMap<TokenId, watch::Sender<Feed>>>,
    poll: Duration,
) {
    let mut seen = 0;
    loop {
        let ended = match step(service, family, seen).await {
            Ok(Some((seq, event))) => {
                seen = seq;
                sender.send_replace(Feed::Token { seq, event });
                false
            }
            Ok(None) => false,
            Err(ServiceError::Grant(problem)) => {
                let reason = if problem == GrantProblem::Expired { "expired" } else { "revoked" };
                sender.send_replace(Feed::Ended(reason));
                true
            }
            Err(error) => {
                // Nothing is known: streams stay open, and say nothing but that.
                warn!(family = %family.id, code = error.code(), "a stream's family could not be looked at");
                false
            }
        };
        if !ended {
            tokio::select! {
                () = tokio::time::sleep(poll) => {}
                () = sender.closed() => {}
            }
        }
        let mut families = all.lock().unwrap_or_else(PoisonError::into_inner);
        if ended || sender.receiver_count() == 0 {
            families.remove(&family.id);
            return;
        }
    }
}

/// The family's newest child, signed, if it is newer than `seen`.
async fn step(service: &TokenService, family: &Family, seen: u64) -> Result<Option<(u64, Bytes)>, ServiceError> {
    let child = service.newest(family).await?;
    if child.seq <= seen {
        return Ok(None);
    }
    let latest = service.signed(family, child).await?;
    let data = latest_response(&latest);
    Ok(Some((latest.seq, Bytes::from(format!("id: {}\nevent: token\ndata: {data}\n\n", latest.seq)))))
}

/// The events of one stream.
struct Events {
    service: Arc<TokenService>,
    feed: watch::Receiver<Feed>,
    seen: u64,
    /// Whether `seen` is still what the client says.
    resumed: bool,
    heartbeat: tokio::time::Interval,
    waiting: VecDeque<Bytes>,
    first: bool,
    ended: bool,
}

impl Events {
    fn new(service: Arc<TokenService>, feed: watch::Receiver<Feed>, seen: u64, options: StreamOptions) -> Self {
        let mut heartbeat = interval_at(Instant::now() + options.heartbeat, options.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hello = format!(
            "retry: {}\nevent: connected\ndata: {}\n\n",
            options.retry.as_millis(),
            json!({"message": "Token update stream connected"})
        );
        let waiting = VecDeque::from([Bytes::from(hello)]);
        Self { service, feed, seen, resumed: true, heartbeat, waiting, first: true, ended: false }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            // What is there already is told before anything is waited for.
            if std::mem::take(&mut self.first) {
                self.look();
                continue;
            }
            tokio::select! {
                changed = self.feed.changed() => match changed {
                    Ok(()) => self.look(),
                    Err(_) => self.ended = true,
                },
                _ = self.heartbeat.tick() => {
                    let data = json!({"timestamp": self.service.now().to_string()});
                    self.waiting.push_back(Bytes::from(format!("event: heartbeat\ndata: {data}\n\n")));
                },
            }
        }
    }

    fn look(&mut self) {
        let feed = self.feed.borrow_and_update().clone();
        match feed {
            // A client cannot have seen what is not there yet: its number is not one of ours.
            Feed::Token { seq, event } if seq > self.seen || std::mem::take(&mut self.resumed) && seq < self.seen => {
                self.seen = seq;
                self.waiting.push_back(event);
            }
            Feed::Ended(reason) => {
                self.waiting.push_back(Bytes::from(format!("event: revoked\ndata: {}\n\n", json!({"reason": reason}))));
                self.ended = true;
            }
            Feed::Pending | Feed::Token { .. } => {}
        }
    }
}

fn response(events: Events) -> Response {
    let body = stream::unfold(events, |mut events| async move {
        let event = events.next().await?;
        Some((Ok::<_, Infallible>(event), events))
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would hold events back until its buffer is full.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response.extensions_mut().insert(Streaming::with_farewell("event: shutdown\ndata: {}\n\n"));
    response
}
