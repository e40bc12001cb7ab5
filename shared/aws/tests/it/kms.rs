//! Keys in KMS, on moto.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD as STANDARD, BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
use serde_json::json;
use token_aws::{AwsClients, KmsBudget, KmsKeyMaker, KmsKeys, ParameterKind};
use token_issuance::rotation::KeyMaker as _;
use token_issuance::{DocumentSource, KeyLoader, Load as _, NoSigningKey, SignerSource as _, SourceError};
use token_jose::{
    Algorithm, KeyRing, KeyVersion, LocalSigner, PrivateLocation, PublicKey, RingPolicy, SignError, sign_compact,
};
use token_testkit::{Behaviour, Curl, Moto, ScriptedAws, Target, at, keys};

use crate::{IMPATIENT, PATIENT, clients};

const KMS_ALGORITHMS: [Algorithm; 4] = [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384];

struct Stand {
    moto: Moto,
    clients: AwsClients,
    maker: KmsKeyMaker,
    keys: KmsKeys,
}

fn stand(budget: u32) -> Option<Stand> {
    let moto = Moto::start()?;
    let clients = clients(&moto.environment(), PATIENT);
    let budget = Arc::new(KmsBudget::new(budget));
    let maker =
        KmsKeyMaker::new(clients.clone(), Arc::clone(&budget), "arn:aws:secretsmanager:eu-west-1:1:secret:ring");
    let keys = KmsKeys::new(clients.clone(), budget);
    Some(Stand { moto, clients, maker, keys })
}

#[tokio::test]
async fn every_algorithm_signs_what_its_public_half_verifies() {
    let Some(stand) = stand(100) else { return };
    for algorithm in KMS_ALGORITHMS {
        let key = stand.maker.standby(algorithm).await.unwrap();
        assert!(matches!(key.location(), PrivateLocation::Kms { arn } if arn.starts_with("arn:aws:kms:eu-west-1:")));
        let signer = key.signer().unwrap();
        if algorithm == Algorithm::Ps256 {
            // moto salts a PSS signature with as much as fits, where KMS and JOSE say the digest's length.
            assert_eq!(signer.sign(b"x").await.unwrap().len(), 256);
            continue;
        }
        // An ECDSA integer is shorter than its field now and then: several signatures, so that padding is met.
        for round in 0..8 {
            let message = format!("message {round}");
            let signature = signer.sign(message.as_bytes()).await.unwrap();
            key.public_key().verify_signature(message.as_bytes(), &signature).unwrap();
        }
        let longest = vec![b'x'; 4_096];
        let signature = signer.sign(&longest).await.unwrap();
        key.public_key().verify_signature(&longest, &signature).unwrap();
        // Longer ones go as a digest, which moto hashes once more, so only the form can be checked here.
        assert_eq!(signer.sign(&[b'x'; 4_097]).await.unwrap().len(), key.public_key().signature_len());
        let token = sign_compact(signer.as_ref(), "JWT", b"{\"sub\":\"x\"}").await.unwrap();
        assert_eq!(token.as_str().split('.').count(), 3);
    }
    let error = stand.maker.standby(Algorithm::EdDsa).await.unwrap_err();
    assert!(error.to_string().contains("found EdDSA"), "{error}");
}

/// **INV** a remote key signs only where its public half is exactly the ring's.
#[tokio::test]
async fn a_ring_that_names_another_key_gets_no_signer() {
    let Some(stand) = stand(100) else { return };
    let key = stand.maker.standby(Algorithm::Es256).await.unwrap();
    let again = stand.keys.signer(&key).await.unwrap();
    assert_eq!(again.public_key(), key.public_key());

    let other = Arc::new(LocalSigner::generate(Algorithm::Es256).unwrap());
    let forged = KeyVersion::remote_standby(key.location().clone(), other);
    let error = stand.keys.signer(&forged).await.unwrap_err();
    assert!(matches!(&error, SourceError::Malformed { detail, .. } if detail.contains("found another")), "{error}");
    let local = KeyVersion::standby(LocalSigner::generate(Algorithm::Es256).unwrap());
    assert!(matches!(stand.keys.signer(&local).await, Err(SourceError::Malformed { .. })));
    let arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-4333-8444-555555555555".to_owned();
    let signer = Arc::new(LocalSigner::generate(Algorithm::Es256).unwrap());
    let absent = KeyVersion::remote_standby(PrivateLocation::Kms { arn }, signer);
    assert!(matches!(stand.keys.signer(&absent).await, Err(SourceError::NotFound { .. })));
}

#[tokio::test]
async fn a_spent_budget_refuses_before_kms_is_asked() {
    let Some(stand) = stand(1) else { return };
    let key = stand.maker.standby(Algorithm::Es256).await.unwrap();
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.push(key.signer().unwrap().sign(b"x").await);
    }
    assert!(outcomes[0].is_ok());
    assert!(
        outcomes.iter().any(|outcome| matches!(outcome, Err(SignError::Throttled { retry_after_s: 1 }))),
        "{outcomes:?}"
    );
}

#[tokio::test]
async fn a_ring_of_kms_keys_loads_with_signers_and_a_withdrawn_key_is_disabled() {
    let Some(stand) = stand(100) else { return };
    let keys = vec![
        stand.maker.standby(Algorithm::Rs256).await.unwrap(),
        stand.maker.standby(Algorithm::Rs256).await.unwrap(),
    ];
    let now = at("2026-11-22T00:00:00Z");
    let ring = KeyRing::first_of(&[Algorithm::Rs256], keys, RingPolicy::default(), now).unwrap();
    let text = String::from_utf8(ring.to_json().unwrap().to_vec()).unwrap();
    assert!(!text.contains("pkcs8"), "no private half is in the ring");
    stand.clients.put_secret("ring", text.as_bytes()).await.unwrap();
    let set = ring.published(now).to_stored_json();
    stand.clients.put_parameter("/jwks", &set, ParameterKind::Plain).await.unwrap();

    let document = |secret: bool| -> Arc<dyn DocumentSource> {
        if secret {
            Arc::new(stand.clients.secret("ring").unwrap())
        } else {
            Arc::new(stand.clients.parameter("/jwks").unwrap())
        }
    };
    let bare = KeyLoader::new(document(true), document(false)).load(now).await.unwrap();
    assert!(matches!(bare.signing_key(Algorithm::Rs256, now), Err(NoSigningKey::NoPrivateHalf { .. })));
    let source = Arc::new(stand.keys);
    let loader = KeyLoader::new(document(true), document(false)).with_signers(source);
    let loaded = loader.load(now).await.unwrap();
    let (key, published) = loaded.signing_key(Algorithm::Rs256, now).unwrap();
    let signature = key.signer().unwrap().sign(b"x").await.unwrap();
    published.get(key.kid()).unwrap().verify_signature(b"x", &signature).unwrap();

    // moto signs with a disabled key all the same, so its state is looked at.
    stand.maker.disable(key).await.unwrap();
    let PrivateLocation::Kms { arn } = key.location() else { panic!("the key is in KMS") };
    let described = Curl::post(&stand.moto.url())
        .header("X-Amz-Target", "TrentService.DescribeKey")
        .body("application/x-amz-json-1.1", &json!({ "KeyId": arn }).to_string())
        .signed(("AKIATESTKIT", "testkit-secret-access-key"), None, "eu-west-1", "kms")
        .send();
    let metadata = &described.json()["KeyMetadata"];
    assert_eq!((&metadata["KeyState"], &metadata["KeyUsage"]), (&json!("Disabled"), &json!("SIGN_VERIFY")));
}

/// Permissions go by the tag, which does not count at once; a step that failed for that would leave a key that no ring names.
#[tokio::test]
async fn a_new_key_is_waited_for_until_its_tag_counts() {
    const RING: &str = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ring-AbCdEf";
    let arn = "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-4333-8444-555555555555";
    let aws = ScriptedAws::start();
    let maker = KmsKeyMaker::new(clients(&aws.environment(), IMPATIENT), Arc::new(KmsBudget::new(1)), RING);
    aws.put_raw(Target::CreateKey, "", json!({ "KeyMetadata": { "Arn": arn, "KeyId": "x" } }));
    let public = keys::signer(Algorithm::Es256).public_key().clone();
    aws.put_raw(Target::GetPublicKey, arn, json!({ "KeyId": arn, "PublicKey": STANDARD.encode(p256_spki(&public)) }));
    for code in ["AccessDeniedException", "NotFoundException"] {
        aws.next(Target::GetPublicKey, Behaviour::Error(code));
    }
    let key = maker.standby(Algorithm::Es256).await.unwrap();
    assert_eq!((key.public_key(), aws.calls(Target::GetPublicKey)), (&public, 3));
    // What the permission to make keys is bound to (infrastructure/modules/keys/signing.tf).
    let made = aws.requests(Target::CreateKey);
    let [made] = made.as_slice() else { panic!("one key, found {made:?}") };
    assert_eq!(made["Tags"], json!([{ "TagKey": "jwt-issuer:ring", "TagValue": RING }]));
    assert_eq!((&made["KeyUsage"], &made["KeySpec"]), (&json!("SIGN_VERIFY"), &json!("ECC_NIST_P256")));

    aws.always(Target::GetPublicKey, Behaviour::Error("AccessDeniedException"));
    assert!(matches!(maker.standby(Algorithm::Es256).await, Err(SourceError::Denied { .. })));
    assert_eq!(aws.calls(Target::GetPublicKey), 3 + 5, "not for ever");
    aws.always(Target::GetPublicKey, Behaviour::Error("KMSInvalidStateException"));
    assert!(maker.standby(Algorithm::Es256).await.is_err());
    assert_eq!(aws.calls(Target::GetPublicKey), 3 + 5 + 1, "nothing else is waited for");
}

/// RFC 5480 section 2: the fixed head of a P-256 key, then the point.
fn p256_spki(key: &PublicKey) -> Vec<u8> {
    let head = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let jwk = key.to_jwk();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    [head.to_vec(), part("x"), part("y")].concat()
}
