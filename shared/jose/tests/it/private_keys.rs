//! Private keys: which encodings are read, what is refused, and that nothing shows.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use token_jose::{Algorithm, KeyError, LocalSigner};

use crate::support::signer;

/// An RSA key of 1,024 bits in PKCS#8, made for this test and too short for any use.
const RSA_1024: &str = "MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBALCYkWjE2C3wIKB/FxBNzoc23K5H4fdOmRxTXAQdEs7KQ6bRXfMXZDr1VER0ktWucyEDxiDUibw5jjj2QWxfs3YBSnhX67elArDvcezXWeKsoEAR2vnBIaouhJF+4T+NYdKEDfS/GSOrg3CF6aB6vomfhjT7iX+oLLhn5v9DdzMpAgMBAAECgYBDD3zQc0fAkhphuEFS4KkX8b51tDhcCI3eEs2zhjLZMjfkhkcOBAj81qLMaBRGbrurgtpfJzaysoyOlv0bIXBtMnnLnhrTIVfTF387mJg5l+8mcm2SMaolyfA9b/SFYBGVzD6yO4xIe569XYolpnDpHctcdVEHxalumUscU9IF8QJBAOUtwchN1ZmxvRUM2myx4iaLwehAMUdbvmGa6Mt0VnD4wW/n5HYUj1afj8C1X+yMcB6OgUHp+DbkR/zdBCNlnN0CQQDFQ2uVcdLRhvPB2Q++cQy2LAuDekA1QvWFMerxo3ofuRt4Rbh05Q+wMNd6j140kvD1G4Rb7cHHx64uWgYp07S9AkEAi4RsmR1RMMy0WFFH064DCAZC2LnjhhaC8vaUS++aBBJb6F1ahswDau+eWunP6LiiNOf6Jn9iHUCh1n1SXJ4qfQJAEevYIFGg94wtJRVVStX2c654tU8r+irFJ36re5yAgdVNW5Xp9iTBUh591RKlWl1nKr1/PuLQ0hegCXIAUVh8eQJBAMhPs0rCLcUkwOV5algpVV3hmJFIiHl7JZHRUEXI3UhTovFXqqL6CClAns6wm7Ib0AKJCasaGKLeFLoi0QTlYvM=";

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// What PKCS#8 wraps: after `needle`, which ends the algorithm, comes one OCTET STRING to the end.
fn inner(pkcs8: &[u8], needle: &[u8]) -> Vec<u8> {
    let end = pkcs8.windows(needle.len()).position(|window| window == needle).unwrap() + needle.len();
    match &pkcs8[end..] {
        [4, 0x82, _, _, inner @ ..] | [4, 0x81, _, inner @ ..] | [4, _, inner @ ..] => inner.to_vec(),
        _ => panic!("no OCTET STRING"),
    }
}

const RSA_NULL: [u8; 13] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
const P256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: [u8; 7] = [6, 5, 0x2b, 0x81, 4, 0, 0x22];

#[test]
fn every_algorithm_reads_its_own_pkcs8_and_signs_for_the_same_key() {
    for algorithm in Algorithm::ALL {
        let original = signer(algorithm);
        let der = original.to_pkcs8();
        let from_pem = LocalSigner::from_pem(algorithm, &pem("PRIVATE KEY", &der)).unwrap();
        for copy in [LocalSigner::from_pkcs8(algorithm, &der).unwrap(), from_pem] {
            assert_eq!(copy.public_key(), original.public_key());
            assert_eq!(*copy.to_pkcs8(), *der);
            let signature = copy.sign_now(b"message").unwrap();
            assert_eq!(original.public_key().verify_signature(b"message", &signature), Ok(()));
        }
    }
}

#[test]
fn pkcs1_and_sec1_pem_are_read() {
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        let pkcs1 = inner(&signer(algorithm).to_pkcs8(), &RSA_NULL);
        let read = LocalSigner::from_pem(algorithm, &pem("RSA PRIVATE KEY", &pkcs1)).unwrap();
        assert_eq!(read.public_key(), signer(algorithm).public_key());
        // What is stored of it is PKCS#8.
        let stored = LocalSigner::from_pkcs8(algorithm, &read.to_pkcs8()).unwrap();
        assert_eq!(stored.public_key(), read.public_key());
    }
    for (algorithm, curve) in [(Algorithm::Es256, &P256[..]), (Algorithm::Es384, &P384[..])] {
        let sec1 = inner(&signer(algorithm).to_pkcs8(), curve);
        let read = LocalSigner::from_pem(algorithm, &pem("EC PRIVATE KEY", &sec1)).unwrap();
        assert_eq!(read.public_key(), signer(algorithm).public_key());
    }
    // `openssl ecparam -genkey` writes the curve before the key, and repeats it inside.
    let sec1 = inner(&signer(Algorithm::Es256).to_pkcs8(), &P256);
    let (head, public) = sec1.split_at(2 + 3 + 34);
    let named = [&[0x30, 0x77][..], &head[2..], &[0xa0, 10], &P256, public].concat();
    let text = format!("{}{}", pem("EC PARAMETERS", &P256), pem("EC PRIVATE KEY", &named));
    let read = LocalSigner::from_pem(Algorithm::Es256, &text).unwrap();
    assert_eq!(read.public_key(), signer(Algorithm::Es256).public_key());
}

#[test]
fn ed25519_pkcs8_is_read_as_version_1_and_2() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let (v1, v2) = (pair.to_pkcs8v1().unwrap(), pair.to_pkcs8().unwrap());
    assert_eq!((v1.as_ref().len(), v2.as_ref().len()), (48, 83));
    let one = LocalSigner::from_pkcs8(Algorithm::EdDsa, v1.as_ref()).unwrap();
    let two = LocalSigner::from_pkcs8(Algorithm::EdDsa, v2.as_ref()).unwrap();
    assert_eq!(one.public_key(), two.public_key());
    // Version 2 carries the public half; it must be the private half's.
    let mut other = v2.as_ref().to_vec();
    *other.last_mut().unwrap() ^= 1;
    assert!(LocalSigner::from_pkcs8(Algorithm::EdDsa, &other).is_err());
    // A generated key is stored as version 1.
    assert_eq!(signer(Algorithm::EdDsa).to_pkcs8().len(), 48);
}

#[test]
fn a_key_of_another_type_curve_or_form_is_refused() {
    for (algorithm, other) in [
        (Algorithm::Rs256, Algorithm::Es256),
        (Algorithm::Ps256, Algorithm::EdDsa),
        (Algorithm::Es256, Algorithm::Es384),
        (Algorithm::Es384, Algorithm::Es256),
        (Algorithm::Es256, Algorithm::Rs256),
        (Algorithm::EdDsa, Algorithm::Es256),
    ] {
        let der = signer(other).to_pkcs8();
        assert!(
            matches!(LocalSigner::from_pkcs8(algorithm, &der), Err(KeyError::Private { .. })),
            "{other} as {algorithm}"
        );
    }
    for algorithm in Algorithm::ALL {
        let der = signer(algorithm).to_pkcs8();
        for wrong in [&der[..der.len() - 1], &der[1..], &[&der[..], &[0]].concat(), &[], &[0x30; 64]] {
            assert!(LocalSigner::from_pkcs8(algorithm, wrong).is_err(), "{algorithm} {}", wrong.len());
        }
    }
    // EC PKCS#8 ends with the public point; another key's must not pass for it.
    let (mut ours, other) =
        (signer(Algorithm::Es256).to_pkcs8(), LocalSigner::generate(Algorithm::Es256).unwrap().to_pkcs8());
    let point = ours.len() - 64..;
    ours[point.clone()].copy_from_slice(&other[point]);
    assert!(LocalSigner::from_pkcs8(Algorithm::Es256, &ours).is_err());
    let pkcs1 = inner(&signer(Algorithm::Rs256).to_pkcs8(), &RSA_NULL);
    let error = LocalSigner::from_pem(Algorithm::Es256, &pem("RSA PRIVATE KEY", &pkcs1)).unwrap_err();
    assert!(error.to_string().contains("an RSA key"), "{error}");
    assert!(LocalSigner::from_pem(Algorithm::Rs256, &pem("RSA PRIVATE KEY", &[pkcs1, vec![0]].concat())).is_err());
    let encrypted = pem("ENCRYPTED PRIVATE KEY", &signer(Algorithm::Es256).to_pkcs8());
    let error = LocalSigner::from_pem(Algorithm::Es256, &encrypted).unwrap_err().to_string();
    assert!(error.contains("encrypted") && error.contains("hint"), "{error}");
}

#[test]
fn short_rsa_keys_are_refused_by_size() {
    let der = STANDARD.decode(RSA_1024).unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        let error = LocalSigner::from_pkcs8(algorithm, &der).unwrap_err().to_string();
        assert!(error.contains("less than 2048 bits"), "{error}");
        let error = LocalSigner::from_pem(algorithm, &pem("RSA PRIVATE KEY", &inner(&der, &RSA_NULL))).unwrap_err();
        assert!(error.to_string().contains("less than 2048 bits"), "{error}");
    }
}

#[test]
fn generated_rsa_keys_have_2048_bits() {
    assert_eq!(signer(Algorithm::Rs256).public_key().rsa_bits(), Some(2048));
    assert_eq!(signer(Algorithm::Es256).public_key().rsa_bits(), None);
}

#[test]
fn debug_and_errors_show_no_key_material() {
    for algorithm in Algorithm::ALL {
        let der = signer(algorithm).to_pkcs8();
        let shown = format!("{:?} {:?}", signer(algorithm), LocalSigner::from_pkcs8(algorithm, &der[..der.len() - 1]));
        let hex: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
        let encoded = STANDARD.encode(&*der);
        let windows = |text: &str| (0..text.len() - 12).map(|at| text[at..at + 12].to_owned()).collect::<Vec<_>>();
        for window in windows(&hex).into_iter().chain(windows(&encoded)) {
            assert!(!shown.contains(&window), "{shown}");
        }
    }
}
