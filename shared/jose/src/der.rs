//! The little DER that aws-lc-rs leaves to us: the end of a document, and the two integers of an RSA public key.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// Splits one element of type `tag` off `der`: `(contents, rest)`. Definite, shortest lengths below 64 KiB only.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.split_first()?;
    let (&short, rest) = rest.split_first()?;
    if first != tag {
        return None;
    }
    let (length, rest) = match (short, rest) {
        (0..=0x7f, rest) => (usize::from(short), rest),
        (0x81, &[length, ref rest @ ..]) if length >= 0x80 => (usize::from(length), rest),
        (0x82, &[high, low, ref rest @ ..]) if high > 0 => (usize::from(high) << 8 | usize::from(low), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Whether `der` is exactly one SEQUENCE. aws-lc-rs parses a private key from the front and ignores what follows.
pub(crate) fn is_one_sequence(der: &[u8]) -> bool {
    matches!(element(der, SEQUENCE), Some((_, [])))
}

/// The modulus and exponent of a PKCS#1 `RSAPublicKey` (RFC 8017 appendix A.1.1), big-endian without leading zeros.
pub(crate) fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (fields, []) = element(der, SEQUENCE)? else { return None };
    let (n, fields) = element(fields, INTEGER)?;
    let (e, []) = element(fields, INTEGER)? else { return None };
    Some((unsigned(n)?, unsigned(e)?))
}

/// The key bytes of a `SubjectPublicKeyInfo` (RFC 5280 section 4.1) whose `AlgorithmIdentifier` is exactly `identifier`.
pub(crate) fn spki_key<'a>(der: &'a [u8], identifier: &[u8]) -> Option<&'a [u8]> {
    let (fields, []) = element(der, SEQUENCE)? else { return None };
    let (found, fields) = element(fields, SEQUENCE)?;
    let (bits, []) = element(fields, BIT_STRING)? else { return None };
    let (unused, key) = bits.split_first()?;
    (found == identifier && *unused == 0).then_some(key)
}

/// A positive INTEGER's magnitude: one leading zero is allowed exactly when the next byte has its high bit set.
fn unsigned(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Some(rest),
        [1..=0x7f, ..] => Some(integer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_info_is_exactly_of_the_algorithm() {
        let der = [0x30, 10, 0x30, 3, 6, 1, 42, 3, 3, 0, 7, 8];
        assert_eq!(spki_key(&der, &[6, 1, 42]), Some(&[7_u8, 8][..]));
        assert_eq!(spki_key(&der, &[6, 1, 43]), None, "another algorithm");
        for (wrong, why) in [
            (&[0x30, 10, 0x30, 3, 6, 1, 42, 3, 3, 0, 7, 8, 0][..], "trailing"),
            (&[0x30, 10, 0x30, 3, 6, 1, 42, 3, 3, 1, 7, 8], "unused bits"),
            (&[0x30, 10, 0x30, 3, 6, 1, 42, 4, 3, 0, 7, 8], "no bit string"),
            (&[0x30, 7, 0x30, 3, 6, 1, 42, 3, 0], "no bits"),
            (&[0x30, 11, 0x30, 3, 6, 1, 42, 3, 3, 0, 7, 8, 5], "another field"),
        ] {
            assert_eq!(spki_key(wrong, &[6, 1, 42]), None, "{why}");
        }
    }

    #[test]
    fn reads_both_integers_and_nothing_loose() {
        assert_eq!(rsa_public_key(&[0x30, 7, 2, 2, 0, 0x81, 2, 1, 3]), Some((&[0x81_u8][..], &[3_u8][..])));
        for (wrong, why) in [
            (&[0x30, 7, 2, 2, 0, 0x81, 2, 1, 3, 0][..], "trailing"),
            (&[0x30, 7, 2, 2, 0, 0x71, 2, 1, 3], "needless zero"),
            (&[0x30, 6, 2, 1, 0x81, 2, 1, 3], "negative"),
            (&[0x30, 0x81, 7, 2, 2, 0, 0x81, 2, 1, 3], "long length"),
            (&[0x30, 0x80, 2, 1, 3, 2, 1, 3, 0, 0], "indefinite"),
            (&[0x30, 8, 2, 1], "cut"),
            (&[], "empty"),
        ] {
            assert_eq!(rsa_public_key(wrong), None, "{why}");
        }
    }
}
