//! One private key out of a PEM file (RFC 7468), without leaving copies behind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What the BEGIN line says the block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// `PRIVATE KEY`: PKCS#8 (RFC 5958).
    Pkcs8,
    /// `RSA PRIVATE KEY`: PKCS#1 (RFC 8017).
    Pkcs1,
    /// `EC PRIVATE KEY`: SEC 1 (RFC 5915).
    Sec1,
}

/// Finds the one private key of `text`. Other blocks (`EC PARAMETERS`, certificates) and text around are passed over.
///
/// The error says what is wrong and never repeats the text.
pub(crate) fn private_key(text: &str) -> Result<(Label, Zeroizing<Vec<u8>>), &'static str> {
    let mut found = None;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("-----BEGIN ").and_then(|rest| rest.strip_suffix("-----")) else { continue };
        let label = match name {
            "PRIVATE KEY" => Label::Pkcs8,
            "RSA PRIVATE KEY" => Label::Pkcs1,
            "EC PRIVATE KEY" => Label::Sec1,
            "ENCRYPTED PRIVATE KEY" => return Err("an encrypted private key; hint: decrypt it with `openssl pkcs8`"),
            _ => continue,
        };
        if found.is_some() {
            return Err("more than one private key");
        }
        // Reserved at full size: a growing buffer would leave unwiped copies of the key on the heap.
        let mut body = Zeroizing::new(String::with_capacity(text.len()));
        loop {
            let line = lines.next().ok_or("a BEGIN line without its END line")?;
            if line.strip_prefix("-----END ").and_then(|rest| rest.strip_suffix("-----")) == Some(name) {
                break;
            }
            if line.starts_with("Proc-Type:") {
                return Err("an encrypted private key; hint: decrypt it with `openssl pkcs8 -topk8 -nocrypt`");
            }
            body.push_str(line);
        }
        let mut der = Zeroizing::new(Vec::with_capacity(text.len()));
        STANDARD.decode_vec(body.as_bytes(), &mut der).map_err(|_| "a block that is not base64")?;
        found = Some((label, der));
    }
    found.ok_or("no block named PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN PRIVATE KEY-----\nAQID\nBAUG\n-----END PRIVATE KEY-----\n";

    #[test]
    fn reads_the_one_private_key_among_other_text() {
        let with_more =
            format!("Bag Attributes\n-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n{BLOCK}\n");
        for text in [BLOCK.to_owned(), with_more, BLOCK.replace('\n', "\r\n")] {
            let (label, der) = private_key(&text).unwrap();
            assert_eq!((label, der.as_slice()), (Label::Pkcs8, &[1, 2, 3, 4, 5, 6][..]));
        }
    }

    #[test]
    fn refuses_what_is_not_one_plain_private_key() {
        let encrypted = BLOCK.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let legacy = BLOCK.replace("AQID", "Proc-Type: 4,ENCRYPTED");
        for text in [
            "",
            "AQID",
            &BLOCK.replace("PRIVATE", "PUBLIC"),
            &BLOCK.repeat(2),
            &encrypted,
            &legacy,
            &BLOCK.replace("AQID", "A*ID"),
            &BLOCK.replace("-----END PRIVATE KEY-----", ""),
            &BLOCK.replace("-----END PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"),
        ] {
            assert!(private_key(text).is_err(), "{text}");
        }
    }
}
