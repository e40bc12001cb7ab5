//! Random identifiers.

use std::fmt::Write as _;

/// Where token ids and decision ids come from.
pub trait IdSource: Send + Sync {
    /// A fresh identifier: 128 random bits as 32 lower-case hexadecimal digits, so that it is safe in a URL, a file name,
    /// a log query and on a command line.
    fn next_id(&self) -> String;
}

/// Identifiers from the operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsIds;

impl IdSource for OsIds {
    #[expect(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "the one place that draws; without randomness nothing may be issued, so the process ends"
    )]
    fn next_id(&self) -> String {
        let mut bytes = [0_u8; 16];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system's random source answers");
        bytes.iter().fold(String::with_capacity(32), |mut id, byte| {
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
            id
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{IdSource, OsIds};

    #[test]
    fn ids_are_32_hex_digits_and_differ() {
        let ids: HashSet<String> = (0..1000).map(|_| OsIds.next_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(
            ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        );
    }
}
