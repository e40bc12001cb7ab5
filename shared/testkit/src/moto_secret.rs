//! A secret in moto, with the part of Secrets Manager that moto leaves out: beginning a rotation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::curl::Curl;
use crate::moto::Moto;

const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";
const PREVIOUS: &str = "AWSPREVIOUS";

/// A secret that is rotated, in the hands of an operator and of Secrets Manager itself. Calls are signed by curl.
///
/// moto begins no rotation without Docker, so the calls of the protocol are a test's own:
/// [`start_rotation`](Self::start_rotation), then the four events.
#[derive(Clone, Debug)]
pub struct MotoSecret {
    url: String,
    /// Its ARN, which Secrets Manager's events carry as `SecretId`.
    pub arn: String,
}

impl MotoSecret {
    /// A new secret without a value, whose rotation is on.
    ///
    /// # Panics
    /// When moto refuses.
    #[must_use]
    pub fn create(moto: &Moto, name: &str) -> Self {
        let mut secret = Self { url: moto.url(), arn: name.to_owned() };
        let created = secret.call("CreateSecret", &json!({ "Name": name }));
        secret.arn = created["ARN"].as_str().expect("an ARN").to_owned();
        let rules = json!({ "AutomaticallyAfterDays": 30 });
        secret.call("RotateSecret", &json!({ "SecretId": secret.arn, "RotationRules": rules }));
        secret
    }

    /// A secret that somebody else made, without a value, whose rotation is switched on here.
    ///
    /// # Panics
    /// When moto refuses.
    #[must_use]
    pub fn existing(moto: &Moto, arn: &str) -> Self {
        let secret = Self { url: moto.url(), arn: arn.to_owned() };
        secret.call("RotateSecret", &json!({ "SecretId": arn, "RotationRules": { "AutomaticallyAfterDays": 30 } }));
        secret
    }

    /// What `RotateSecret` does before the first step: makes the version `token`, pending and without a value.
    ///
    /// moto's own `RotateSecret` makes it current at once (it has no function to call), and knows no value-less version of
    /// a secret without any: both are mended here, so that the version before stays current. For the very first rotation
    /// a version without a value is current meanwhile.
    ///
    /// # Panics
    /// When moto refuses, or another rotation is pending.
    pub fn start_rotation(&self, token: &str) {
        if self.stages().is_empty() {
            self.call("PutSecretValue", &json!({ "SecretId": self.arn, "SecretString": "not a ring" }));
            let text = self.version_with(CURRENT).expect("the first value becomes current");
            self.rotate(&format!("{:0>36}", "empty"));
            self.take(PREVIOUS, &text);
        }
        let current = self.version_with(CURRENT).expect("some version is current");
        if let Some(pending) = self.version_with(PENDING) {
            assert_eq!(pending, current, "a previous rotation is not complete");
            self.take(PENDING, &pending);
        }
        let previous = self.version_with(PREVIOUS);
        self.rotate(token);
        // Back to what was: the new version has nothing but AWSPENDING.
        if self.carries(&current, CURRENT) {
            self.take(CURRENT, token);
        } else {
            let back = json!({ "SecretId": self.arn, "VersionStage": CURRENT, "RemoveFromVersionId": token, "MoveToVersionId": current });
            self.call("UpdateSecretVersionStage", &back);
        }
        for version in self.stages().into_keys().filter(|version| self.carries(version, PREVIOUS)) {
            self.take(PREVIOUS, &version);
        }
        if let Some(previous) = previous {
            self.give(PREVIOUS, &previous);
        }
        self.give(PENDING, token);
    }

    /// Versions and their stages, without those that have none.
    ///
    /// # Panics
    /// When moto refuses.
    #[must_use]
    pub fn stages(&self) -> BTreeMap<String, BTreeSet<String>> {
        let described = self.call("DescribeSecret", &json!({ "SecretId": self.arn }));
        let versions = described["VersionIdsToStages"].as_object().cloned().unwrap_or_default();
        let staged = versions.into_iter().map(|(version, stages)| {
            let stages = stages.as_array().into_iter().flatten().filter_map(Value::as_str);
            (version, stages.map(str::to_owned).collect::<BTreeSet<String>>())
        });
        staged.filter(|(_, stages)| !stages.is_empty()).collect()
    }

    /// The version that carries `stage`.
    #[must_use]
    pub fn version_with(&self, stage: &str) -> Option<String> {
        self.stages().into_iter().find(|(_, stages)| stages.contains(stage)).map(|(version, _)| version)
    }

    /// The value of `version`, if it has one.
    #[must_use]
    pub fn value(&self, version: &str) -> Option<String> {
        let reply = self.send("GetSecretValue", &json!({ "SecretId": self.arn, "VersionId": version }));
        (reply.status == 200).then(|| reply.json()["SecretString"].as_str().map(str::to_owned)).flatten()
    }

    /// `PutSecretValue` with `AWSCURRENT` by an operator's hand.
    ///
    /// # Panics
    /// When moto refuses.
    pub fn put_current(&self, version: &str, text: &str) {
        let token = json!({ "SecretId": self.arn, "ClientRequestToken": version, "SecretString": text });
        self.call("PutSecretValue", &token);
    }

    fn rotate(&self, token: &str) {
        self.call("RotateSecret", &json!({ "SecretId": self.arn, "ClientRequestToken": token }));
    }

    /// Takes `stage` off `version`.
    ///
    /// # Panics
    /// When moto refuses, for example because the version does not carry it.
    pub fn take(&self, stage: &str, version: &str) {
        let change = json!({ "SecretId": self.arn, "VersionStage": stage, "RemoveFromVersionId": version });
        self.call("UpdateSecretVersionStage", &change);
    }

    /// Whether `version` carries `stage`.
    #[must_use]
    pub fn carries(&self, version: &str, stage: &str) -> bool {
        self.stages().get(version).is_some_and(|stages| stages.contains(stage))
    }

    /// Gives `stage` to `version`, taking it off whichever has it.
    ///
    /// # Panics
    /// When moto refuses.
    pub fn give(&self, stage: &str, version: &str) {
        let mut change = json!({ "SecretId": self.arn, "VersionStage": stage, "MoveToVersionId": version });
        if let Some(holder) = self.version_with(stage) {
            if holder == version {
                return;
            }
            change["RemoveFromVersionId"] = json!(holder);
        }
        self.call("UpdateSecretVersionStage", &change);
    }

    fn call(&self, action: &str, body: &Value) -> Value {
        let reply = self.send(action, body);
        assert_eq!(reply.status, 200, "{action} {body}: {}", reply.text());
        reply.json()
    }

    fn send(&self, action: &str, body: &Value) -> crate::curl::Reply {
        Curl::post(&self.url)
            .header("X-Amz-Target", &format!("secretsmanager.{action}"))
            .body("application/x-amz-json-1.1", &body.to_string())
            .signed(("AKIATESTKIT", "testkit-secret-access-key"), None, "eu-west-1", "secretsmanager")
            .send()
    }
}
