//! From the ECDSA signature that KMS returns to the one that JOSE wants.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// `r || s`, each of `width` bytes (RFC 7518 section 3.4), from a DER `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3).
///
/// Strict: exactly one SEQUENCE of exactly two positive INTEGERs in their shortest form, and nothing after. Lengths are in
/// the short form alone: no signature up to P-384 is longer than 104 bytes.
pub(super) fn ecdsa_raw(der: &[u8], width: usize) -> Option<Vec<u8>> {
    let (fields, []) = element(der, SEQUENCE)? else { return None };
    let (r, fields) = element(fields, INTEGER)?;
    let (s, []) = element(fields, INTEGER)? else { return None };
    let mut raw = Vec::with_capacity(2 * width);
    for integer in [r, s] {
        let magnitude = match integer {
            [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => rest,
            [1..=0x7f, ..] => integer,
            _ => return None,
        };
        raw.resize(raw.len() + width.checked_sub(magnitude.len())?, 0);
        raw.extend_from_slice(magnitude);
    }
    Some(raw)
}

fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    match der {
        [found, length @ 0..=0x7f, rest @ ..] if *found == tag => rest.split_at_checked(usize::from(*length)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(r: &[u8], s: &[u8]) -> Vec<u8> {
        let integer = |bytes: &[u8]| {
            let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
            let bytes = &bytes[start..];
            let mut body = if bytes[0] >= 0x80 { vec![0] } else { Vec::new() };
            body.extend_from_slice(bytes);
            [vec![INTEGER, u8::try_from(body.len()).unwrap()], body].concat()
        };
        let body = [integer(r), integer(s)].concat();
        [vec![SEQUENCE, u8::try_from(body.len()).unwrap()], body].concat()
    }

    #[test]
    fn every_loose_form_is_refused() {
        let good = encode(&[0x80; 32], &[1; 32]);
        assert_eq!(ecdsa_raw(&good, 32).unwrap(), [[0x80; 32], [1; 32]].concat());
        assert_eq!(ecdsa_raw(&encode(&[0, 7], &[3]), 32).unwrap().len(), 64, "short integers are padded");
        for (wrong, why) in [
            (&[][..], "empty"),
            (&good[..good.len() - 1], "cut"),
            (&[&good[..], &[0]].concat(), "trailing"),
            (&[0x30, 0x06, 2, 1, 0, 2, 1, 1], "zero"),
            (&[0x30, 0x06, 2, 1, 0x81, 2, 1, 1], "negative"),
            (&[0x30, 0x07, 2, 2, 0, 1, 2, 1, 1], "needless zero"),
            (&[0x30, 0x03, 2, 1, 1], "one integer"),
            (&[0x30, 0x09, 2, 1, 1, 2, 1, 1, 2, 1, 1], "three integers"),
            (&[0x30, 0x81, 0x06, 2, 1, 1, 2, 1, 1], "long length"),
            (&[0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0], "indefinite"),
            (&[0x31, 0x06, 2, 1, 1, 2, 1, 1], "a SET"),
            (&encode(&[1; 33], &[1; 32]), "too wide"),
        ] {
            assert_eq!(ecdsa_raw(wrong, 32), None, "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(r in proptest::collection::vec(any::<u8>(), 48), s in proptest::collection::vec(any::<u8>(), 48)) {
            prop_assume!(r.iter().any(|byte| *byte != 0) && s.iter().any(|byte| *byte != 0));
            prop_assert_eq!(ecdsa_raw(&encode(&r, &s), 48).unwrap(), [r, s].concat());
        }

        #[test]
        fn no_bytes_panic(der in proptest::collection::vec(any::<u8>(), 0..120), width in 0_usize..49) {
            if let Some(raw) = ecdsa_raw(&der, width) {
                prop_assert_eq!(raw.len(), 2 * width);
            }
        }
    }
}
