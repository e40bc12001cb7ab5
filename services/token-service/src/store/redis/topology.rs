//! Which server has which keys: one master, or the slots of a cluster. Routing is ours and not the client library's, because
//! a call that waits for replicas must wait on the connection that wrote, and because only we know which calls may be repeated.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use redis::{Pipeline, Value};
use tokio::sync::Mutex;

use super::node::{Connector, Failure, Node, server_failure};
use super::options::Address;

/// How many slots a cluster has.
const SLOTS: u16 = 16384;

/// The slot of a key whose hash tag is `tag` (CRC-16/XMODEM).
pub(crate) fn slot(tag: &[u8]) -> u16 {
    let crc = tag.iter().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 },
        )
    });
    crc % SLOTS
}

/// The servers.
pub(crate) struct Topology {
    connector: Arc<Connector>,
    seeds: Vec<Address>,
    cluster: bool,
    /// Whether calls wait for replicas.
    waits: bool,
    known: RwLock<Known>,
    refreshing: Mutex<()>,
}

#[derive(Default)]
struct Known {
    nodes: HashMap<Address, Arc<Node>>,
    /// Last slot of a range, first slot, master; ascending. Empty: not known.
    ranges: Vec<(u16, u16, Address)>,
    version: u64,
}

impl Topology {
    pub(crate) fn new(connector: Arc<Connector>, seeds: Vec<Address>, cluster: bool, waits: bool) -> Self {
        Self { connector, seeds, cluster, waits, known: RwLock::default(), refreshing: Mutex::new(()) }
    }

    /// The master of a slot, and the version of the map that says so.
    pub(crate) async fn master(&self, slot: u16) -> Result<(Arc<Node>, u64), Failure> {
        for _ in 0..2 {
            let version = {
                let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
                let at = known.ranges.partition_point(|(last, _, _)| *last < slot);
                let found = known.ranges.get(at).filter(|(_, first, _)| *first <= slot);
                if let Some(node) = found.and_then(|(_, _, address)| known.nodes.get(address)) {
                    return Ok((Arc::clone(node), known.version));
                }
                known.version
            };
            self.refresh(version).await?;
        }
        Err(Failure::Busy(format!("no server has slot {slot}")))
    }

    /// The first slot of the range after the one of `slot`.
    pub(crate) fn after(&self, slot: u16) -> Option<u16> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let at = known.ranges.partition_point(|(last, _, _)| *last < slot);
        let next = known.ranges.get(at)?;
        if next.1 > slot { Some(next.1) } else { known.ranges.get(at + 1).map(|(_, first, _)| *first) }
    }

    /// The server at an address that another server named.
    pub(crate) fn named(&self, address: Address) -> Arc<Node> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let node = known.nodes.entry(address);
        Arc::clone(node.or_insert_with_key(|address| self.node(address.clone())))
    }

    /// The map of this version has turned out wrong: the next call asks for a new one.
    pub(crate) fn forget(&self, version: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.version == version {
            known.ranges.clear();
            known.version += 1;
        }
    }

    /// Asks for the map, unless somebody else has since `version`.
    async fn refresh(&self, version: u64) -> Result<(), Failure> {
        let _one = self.refreshing.lock().await;
        let candidates = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.version != version && !known.ranges.is_empty() {
                return Ok(());
            }
            let mut candidates = self.seeds.clone();
            if self.cluster {
                candidates.extend(known.nodes.keys().filter(|known| !self.seeds.contains(known)).cloned());
            }
            candidates
        };
        let mut asking: Vec<_> = candidates.into_iter().map(|address| Box::pin(self.ask(address))).collect();
        let mut why = Failure::Busy("no server is known".to_owned());
        // The first good answer counts: of servers that are gone some only answer by time-out.
        while !asking.is_empty() {
            let (answer, _, rest) = futures_util::future::select_all(asking).await;
            asking = rest;
            match answer {
                Ok(ranges) => {
                    self.learn(ranges);
                    return Ok(());
                }
                Err(failure) => why = worse(why, failure),
            }
        }
        Err(why)
    }

    async fn ask(&self, address: Address) -> Result<Vec<(u16, u16, Address)>, Failure> {
        let node = self.named(address.clone());
        if !self.cluster {
            node.lease(false).await?;
            return Ok(vec![(SLOTS - 1, 0, address)]);
        }
        let mut pipeline = Pipeline::new();
        pipeline.cmd("CLUSTER").arg("SLOTS");
        let values = node.send(false, &pipeline, 1).await?;
        match values.first() {
            Some(Value::ServerError(error)) => Err(server_failure(&address, error)),
            Some(value) => {
                let ranges = ranges(value, &address);
                // A server that lost its cluster knows too little.
                if ranges.is_empty() { Err(Failure::Busy(format!("{address} knows of no slots"))) } else { Ok(ranges) }
            }
            None => Err(Failure::Busy(format!("{address} knows of no slots"))),
        }
    }

    fn learn(&self, ranges: Vec<(u16, u16, Address)>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known
            .nodes
            .retain(|address, _| self.seeds.contains(address) || ranges.iter().any(|(_, _, master)| master == address));
        for (_, _, master) in &ranges {
            if !known.nodes.contains_key(master) {
                known.nodes.insert(master.clone(), self.node(master.clone()));
            }
        }
        known.ranges = ranges;
        known.version += 1;
    }

    fn node(&self, address: Address) -> Arc<Node> {
        Arc::new(Node::new(address, Arc::clone(&self.connector), self.waits))
    }
}

/// Which of two failures to tell: one that an operator must mend, before one that may pass.
fn worse(one: Failure, other: Failure) -> Failure {
    match (&one, &other) {
        (Failure::Store(_), _) => one,
        _ => other,
    }
}

/// The answer to `CLUSTER SLOTS`: `[[first, last, [host, port, …], …], …]`.
fn ranges(answer: &Value, asked: &Address) -> Vec<(u16, u16, Address)> {
    let range = |value: &Value| {
        let Value::Array(parts) = value else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = parts.as_slice() else { return None };
        let [host, Value::Int(port), ..] = master.as_slice() else { return None };
        let host = match host {
            Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok()?,
            Value::SimpleString(text) => text.clone(),
            _ => String::new(),
        };
        // Redis says "" or null for "where you asked", and "?" for "not told".
        let host = if host.is_empty() || host == "?" { asked.host.clone() } else { host };
        let address = Address { host, port: u16::try_from(*port).ok()? };
        Some((u16::try_from(*last).ok()?, u16::try_from(*first).ok()?, address))
    };
    let Value::Array(values) = answer else { return Vec::new() };
    let mut ranges: Vec<_> = values.iter().filter_map(range).collect();
    ranges.sort_by_key(|(last, ..)| *last);
    ranges
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::super::options::Address;
    use super::{ranges, slot};

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        // CRC-16/XMODEM of "123456789" is 0x31C3; "foo" is in slot 12182 (CLUSTER KEYSLOT).
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b""), 0);
    }

    #[test]
    fn a_map_is_read_and_nonsense_left_out() {
        let asked = Address { host: "10.0.0.1".into(), port: 1 };
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let range = |first, last, host: Value, port| {
            Value::Array(vec![
                Value::Int(first),
                Value::Int(last),
                Value::Array(vec![host, Value::Int(port), text("id")]),
            ])
        };
        let answer = Value::Array(vec![
            range(8192, 16383, text("10.0.0.2"), 2),
            range(0, 100, Value::Nil, 3),
            range(101, 8191, text("?"), 4),
            range(5, 6, text("far"), 70_000),
            Value::Int(7),
            Value::Array(vec![]),
        ]);
        let address = |host: &str, port| Address { host: host.into(), port };
        assert_eq!(
            ranges(&answer, &asked),
            vec![
                (100, 0, address("10.0.0.1", 3)),
                (8191, 101, address("10.0.0.1", 4)),
                (16383, 8192, address("10.0.0.2", 2))
            ]
        );
        assert!(ranges(&Value::Nil, &asked).is_empty());
    }
}
