//! HMAC secrets that everybody knows.
//!
//! No guessing: a short list of secrets that were published, and two forms that no random generator produces. It refuses
//! mistakes; it proves no strength.

/// RFC 7518 section 3.2: a key of at least the digest's size.
pub(super) const LEAST_BYTES: usize = 32;

/// Published secrets of 32 bytes and more (shorter ones are refused for their length), lower case.
const PUBLISHED: &[&str] = &[
    // jwt.io, the example token of 2024 and later.
    "a-string-secret-at-least-256-bits-long",
    "a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long",
    // marcioazam/microservices-base, services/token: compiled into the program.
    "mock-kms-secret-key-for-testing-purposes-only!",
    // The FastAPI tutorial on OAuth 2 with JWT.
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    // A widely copied Spring Boot tutorial.
    "404e635266556a586e3272357538782f413f4428472b4b6250645367566b5970",
    // RFC 7515 appendix A.1, as its base64url text.
    "aym1sysppbyfdfzld3umj1qzkobwvmkoqq-estjqlr_t-1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow",
];

/// Short published secrets that often appear padded or repeated; refused when nothing else is in the secret but them and
/// punctuation: jwt.io's older examples, placeholders, those of omar-khaled-2/social-feed.
const WORDS: &[&str] = &[
    "your-256-bit-secret",
    "your-384-bit-secret",
    "your-512-bit-secret",
    "fhfjn23874h5",
    "changeme",
    "change",
    "password",
    "secret",
    "omar",
    "test",
    "your",
    "key",
    "jwt",
    "me",
    "my",
    "super",
    "please",
];

/// Why a secret is refused; never the secret.
pub(super) fn weakness(secret: &[u8]) -> Option<&'static str> {
    if secret.len() < LEAST_BYTES {
        return Some("a short one");
    }
    if secret.starts_with(b"-----BEGIN ") {
        // A public key as HMAC secret is the oldest forgery of all.
        return Some("a PEM document; hint: name it with --key-file, an HMAC secret is random bytes");
    }
    if repeats(secret) {
        return Some("a short text repeated");
    }
    let lower = secret.to_ascii_lowercase();
    let lower = zeroize::Zeroizing::new(lower);
    let text = lower.trim_ascii();
    if PUBLISHED.iter().any(|published| published.as_bytes() == text) {
        return Some("one that has been published");
    }
    only_words(text).then_some("nothing but words such as secret and changeme")
}

/// Whether the secret is a unit of at most half its length, over and over.
fn repeats(secret: &[u8]) -> bool {
    (1..=secret.len() / 2).any(|period| secret.iter().zip(secret.iter().skip(period)).all(|(one, other)| one == other))
}

fn only_words(mut text: &[u8]) -> bool {
    let mut words = 0_u32;
    while let Some(first) = text.first() {
        if let Some(rest) = WORDS.iter().find_map(|word| text.strip_prefix(word.as_bytes())) {
            words += 1;
            text = rest;
        } else if first.is_ascii_punctuation() || first.is_ascii_whitespace() || first.is_ascii_digit() {
            text = text.get(1..).unwrap_or_default();
        } else {
            return false;
        }
    }
    words > 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{PUBLISHED, WORDS, weakness};

    #[test]
    fn known_and_short_secrets_are_weak() {
        for secret in [
            "",
            "omar",
            "fhfjn23874h5",
            "your-256-bit-secret",
            &"k".repeat(31),
            &"k".repeat(64),
            &"secret".repeat(10),
            &"correct horse battery staple ".repeat(2),
            "changeme-changeme-please-secret-1234567890",
            "MY_SUPER_SECRET_JWT_KEY_CHANGE_ME_PLEASE",
            "A-String-Secret-At-Least-256-Bits-Long",
            "mock-kms-secret-key-for-testing-purposes-only!\n",
            "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ",
        ] {
            assert!(weakness(secret.as_bytes()).is_some(), "{secret}");
        }
        for word in WORDS {
            assert_eq!(word.to_ascii_lowercase(), *word, "the list is compared in lower case");
        }
        for published in PUBLISHED {
            assert!(weakness(published.as_bytes()).is_some(), "{published}");
        }
    }

    proptest! {
        #[test]
        fn random_secrets_are_not(secret in prop::array::uniform32(any::<u8>())) {
            prop_assert_eq!(weakness(&secret), None);
        }

        #[test]
        fn nor_their_hexadecimal_and_base64_forms(secret in prop::array::uniform32(any::<u8>())) {
            prop_assert_eq!(weakness(token_jose::sha256_hex(&secret).as_bytes()), None);
            prop_assert_eq!(weakness(token_jose::base64url(&secret).as_bytes()), None);
        }
    }
}
