//! How a ring and its key set stand, for reading and as data.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use token_jose::{KeyRing, KeySet, KeyVersion, PrivateLocation};

use super::stores::RingStores;
use crate::operator::Report;
use crate::operator::inspect::relative;

/// One key of a ring.
struct Row {
    kid: String,
    algorithm: &'static str,
    state: &'static str,
    private: &'static str,
    signs_from: Option<Timestamp>,
    published_at: Option<Timestamp>,
    not_after: Option<Timestamp>,
}

/// A ring beside what verifiers see.
pub(super) struct Overview {
    version: String,
    generation: u64,
    default: &'static str,
    rows: Vec<Row>,
    /// Published keys that the ring does not know.
    foreign: Vec<String>,
    due: Timestamp,
    now: Timestamp,
}

impl Overview {
    pub(super) fn of(version: &str, ring: &KeyRing, published: &KeySet, now: Timestamp) -> Self {
        let rows = ring.key_versions().iter().map(|key| {
            let entry = published.entry(key.kid());
            let active = ring.active(key.algorithm(), now).is_some_and(|active| active.kid() == key.kid());
            let state = match (entry.is_some_and(|entry| entry.is_live(now)), key.signs_from()) {
                (false, _) => "unpublished",
                (true, _) if active => "signs",
                (true, None) => "standby",
                (true, Some(start)) if start > now => "promoted",
                (true, Some(_)) => "retired",
            };
            Row {
                kid: key.kid().to_string(),
                algorithm: key.algorithm().name(),
                state,
                private: match key.location() {
                    PrivateLocation::Inline => "ring",
                    PrivateLocation::Kms { .. } => "kms",
                    PrivateLocation::Transit { .. } => "transit",
                    _ => "dropped",
                },
                signs_from: key.signs_from(),
                published_at: entry.and_then(|entry| entry.published_at),
                not_after: entry.and_then(|entry| entry.not_after),
            }
        });
        let signing = ring.active(ring.default_algorithm(), now).and_then(KeyVersion::signs_from).unwrap_or(now);
        let interval = SignedDuration::from_secs(i64::try_from(ring.policy().interval_s).unwrap_or(i64::MAX));
        Self {
            version: version.to_owned(),
            generation: ring.generation(),
            default: ring.default_algorithm().name(),
            rows: rows.collect(),
            foreign: ring.foreign(published).map(|entry| entry.key.kid().to_string()).collect(),
            due: signing.checked_add(interval).unwrap_or(Timestamp::MAX),
            now,
        }
    }

    pub(super) fn report(&self, stores: &RingStores, what: Option<&str>) -> Report {
        let at = |time: Option<Timestamp>| time.map_or(Value::Null, |time| time.to_string().into());
        let keys: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "kid": row.kid, "alg": row.algorithm, "state": row.state, "private": row.private,
                    "signs_from": at(row.signs_from), "published_at": at(row.published_at), "not_after": at(row.not_after),
                })
            })
            .collect();
        let json = json!({
            "ring": stores.ring_name(), "jwks": stores.jwks_name(), "version": self.version,
            "generation": self.generation, "default_alg": self.default, "keys": keys, "foreign": self.foreign,
            "rotation_due": self.due.to_string(), "what": what,
        });
        let mut human = String::new();
        if let Some(what) = what {
            human.push_str(what);
            human.push('\n');
        }
        human.push_str(&format!("{}: generation {}, default {}\n", stores.ring_name(), self.generation, self.default));
        for row in &self.rows {
            let when = match (row.state, row.signs_from, row.not_after) {
                ("signs", Some(since), _) => format!(" since {since}"),
                ("promoted", Some(from), _) => format!(", signs {}", self.relative(from)),
                ("retired", _, Some(until)) => format!(", published until {until}"),
                _ => String::new(),
            };
            human.push_str(&format!("  {}  {:<5}  {}{when}\n", row.kid, row.algorithm, row.state));
        }
        for kid in &self.foreign {
            human.push_str(&format!("  {kid}  published, and not of this ring\n"));
        }
        human.push_str(&format!("rotation is due {}", self.relative(self.due)));
        Report::yes(human, json)
    }

    fn relative(&self, time: Timestamp) -> String {
        format!("{time} ({})", relative(time.duration_since(self.now).as_secs()))
    }
}
