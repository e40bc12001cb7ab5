//! ASCII character classes. The parsers of principals and the collision proof read the same constants, so the proof
//! never reasons about an alphabet other than the one that is let in.

/// A set of ASCII characters, one bit each. Nothing outside ASCII is ever a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CharSet(u128);

impl CharSet {
    pub(crate) const EMPTY: Self = Self(0);
    /// `0`-`9`.
    pub(crate) const DIGITS: Self = Self::range(b'0', b'9');
    /// `0`-`9`, `a`-`f`.
    pub(crate) const LOWER_HEX: Self = Self::DIGITS.union(Self::range(b'a', b'f'));
    /// `A`-`Z`.
    pub(crate) const UPPER: Self = Self::range(b'A', b'Z');
    /// `a`-`z`.
    pub(crate) const LOWER: Self = Self::range(b'a', b'z');
    /// `A`-`Z`, `a`-`z`, `0`-`9`.
    pub(crate) const ALPHANUMERIC: Self = Self::DIGITS.union(Self::LOWER).union(Self::UPPER);
    /// The alphabet of base64url (RFC 4648 section 5): thumbprints.
    pub(crate) const BASE64URL: Self = Self::ALPHANUMERIC.union(Self::of(b"-_"));
    /// `[\w+=,.@-]`: roles, users, sessions, federated users, permission sets (IAM and STS API references).
    pub(crate) const IAM_NAME: Self = Self::ALPHANUMERIC.union(Self::of(b"_+=,.@-"));
    /// `0x21`-`0x7e`: IAM paths, issuers and subjects of foreign tokens.
    pub(crate) const GRAPHIC: Self = Self::range(b'!', b'~');
    /// `0x20`-`0x7e`: subjects that we issue.
    pub(crate) const PRINTABLE: Self = Self::range(b' ', b'~');
    /// RFC 1123 label without its rule about first and last characters: Kubernetes namespaces.
    pub(crate) const DNS_LABEL: Self = Self::DIGITS.union(Self::LOWER).union(Self::of(b"-"));
    /// RFC 1123 subdomain, likewise: Kubernetes service accounts.
    pub(crate) const DNS_NAME: Self = Self::DNS_LABEL.union(Self::of(b"."));
    /// `scope-token` of RFC 6749 section 3.3.
    pub(crate) const SCOPE_TOKEN: Self = Self::GRAPHIC.minus(Self::of(b"\"\\"));
    /// What a `*` never runs across.
    pub(crate) const SEPARATORS: Self = Self::of(b"/:");

    pub(crate) const fn of(mut bytes: &[u8]) -> Self {
        let mut set = 0;
        while let [first, rest @ ..] = bytes {
            set |= Self::bit(*first);
            bytes = rest;
        }
        Self(set)
    }

    pub(crate) const fn single(byte: u8) -> Self {
        Self(Self::bit(byte))
    }

    const fn range(first: u8, last: u8) -> Self {
        let mut set = 0;
        let mut byte = first;
        while byte <= last {
            set |= Self::bit(byte);
            byte += 1;
        }
        Self(set)
    }

    const fn bit(byte: u8) -> u128 {
        if byte.is_ascii() { 1 << byte } else { 0 }
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn meet(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn contains(self, byte: u8) -> bool {
        self.0 & Self::bit(byte) != 0
    }

    /// Whether every byte of `text` is a member.
    pub(crate) fn holds(self, text: &str) -> bool {
        text.bytes().all(|byte| self.contains(byte))
    }

    /// The members in ASCII order.
    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..128_u8).filter(move |byte| self.contains(*byte))
    }

    /// The letters of the set, each in its other case.
    pub(crate) const fn other_case(self) -> Self {
        Self((self.0 & Self::UPPER.0) << 32 | (self.0 & Self::LOWER.0) >> 32)
    }

    /// The first member that `text` violates, for a message.
    pub(crate) fn first_outside(self, text: &str) -> Option<char> {
        text.chars().find(|c| !u8::try_from(*c).is_ok_and(|byte| self.contains(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::CharSet;

    #[test]
    fn names_are_the_documented_class_and_ascii_only() {
        let name: Vec<u8> = CharSet::IAM_NAME.iter().collect();
        assert_eq!(name.len(), 62 + 7);
        assert!(CharSet::IAM_NAME.holds("aZ0_+=,.@-"));
        for foreign in ["/", ":", " ", "*", "\u{430}", "\u{ff21}", "\u{212a}", "\0", "\u{7f}"] {
            assert!(!CharSet::IAM_NAME.holds(foreign), "{foreign:?}");
        }
        assert!(CharSet::GRAPHIC.holds("!~") && !CharSet::GRAPHIC.holds(" ") && !CharSet::GRAPHIC.holds("\u{7f}"));
        assert!(!CharSet::SCOPE_TOKEN.holds("\"") && !CharSet::SCOPE_TOKEN.holds("\\"));
        assert_eq!(CharSet::IAM_NAME.first_outside("ab/cd"), Some('/'));
    }
}
