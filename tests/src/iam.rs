//! Calls of AWS APIs that moto wrote down, and policies as IAM evaluates them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::applied::{MOTO_ACCOUNT, REGION};

/// One call of an AWS API, as IAM sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// `service:Action`.
    pub action: String,
    /// The resource's ARN.
    pub resource: String,
    /// Condition keys and their values.
    pub context: BTreeMap<String, Vec<String>>,
}

impl Call {
    /// This call with another value of a condition key, or without the key.
    #[must_use]
    pub fn with(&self, key: &str, values: &[&str]) -> Self {
        let mut call = self.clone();
        call.context.remove(key);
        if !values.is_empty() {
            call.context.insert(key.to_owned(), values.iter().map(|&value| value.to_owned()).collect());
        }
        call
    }
}

/// What IAM is asked for an entry of moto's recorder. `key` tells what conditions can ask of a KMS key.
pub(crate) fn read_calls(entry: &Value, key: &dyn Fn(&str) -> BTreeMap<String, Vec<String>>) -> Vec<Call> {
    let headers = entry["headers"].as_object().unwrap();
    let target = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("X-Amz-Target"));
    let target = target.and_then(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("an unknown call: {entry}"));
    let body: Value = serde_json::from_slice(&base64_decoded(entry["body"].as_str().unwrap())).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}")).to_owned();
    let (service, action) = target.split_once('.').unwrap();
    let keys = format!("arn:aws:kms:{REGION}:{MOTO_ACCOUNT}:key/");
    let (service, resource, context) = match (service, action) {
        ("secretsmanager", _) => {
            let stage = body["VersionStage"].as_str().map(str::to_owned);
            let stage = stage.map(|stage| ("secretsmanager:VersionStage".to_owned(), vec![stage]));
            ("secretsmanager", text("SecretId"), stage.into_iter().collect())
        }
        ("AmazonSSM", _) => {
            ("ssm", format!("arn:aws:ssm:{REGION}:{MOTO_ACCOUNT}:parameter{}", text("Name")), BTreeMap::new())
        }
        // With tags, TagResource is asked for as well.
        ("TrentService", "CreateKey") => {
            let tags: Vec<_> = body["Tags"].as_array().unwrap().iter().collect();
            let of = |tag: &Value, name: &str| tag[name].as_str().unwrap().to_owned();
            let names = tags.iter().map(|tag| of(tag, "TagKey")).collect();
            let mut context = BTreeMap::from([("aws:TagKeys".to_owned(), names)]);
            for tag in tags {
                context.insert(format!("aws:RequestTag/{}", of(tag, "TagKey")), vec![of(tag, "TagValue")]);
            }
            let action = "kms:TagResource".to_owned();
            let tagging = Call { action, resource: format!("{keys}new"), context: context.clone() };
            for (condition, member) in [("kms:KeySpec", "KeySpec"), ("kms:KeyUsage", "KeyUsage")] {
                context.insert(condition.to_owned(), vec![text(member)]);
            }
            return vec![Call { action: "kms:CreateKey".to_owned(), resource: "*".to_owned(), context }, tagging];
        }
        ("TrentService", _) => {
            let id = text("KeyId");
            let arn = if id.starts_with("arn:") { id } else { format!("{keys}{id}") };
            let context = key(&arn);
            ("kms", arn, context)
        }
        (other, _) => panic!("a call of {other}: {entry}"),
    };
    vec![Call { action: format!("{service}:{action}"), resource, context }]
}

/// A policy as IAM evaluates it; only what these policies use, and no other word.
pub struct Policy(Vec<Value>);

impl Policy {
    /// Reads `policy_json` of a function.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let policy: Value = serde_json::from_str(text).unwrap();
        let statements = policy["Statement"].as_array().unwrap().clone();
        let operators = ["StringEquals", "StringEqualsIfExists", "ForAllValues:StringEquals"];
        for statement in &statements {
            for (name, value) in statement.as_object().unwrap() {
                let known = match name.as_str() {
                    "Sid" | "Action" | "Resource" => true,
                    "Effect" => value == "Allow",
                    "Condition" => value.as_object().unwrap().keys().all(|key| operators.contains(&key.as_str())),
                    _ => false,
                };
                assert!(known, "this test does not know {name}: {value}");
            }
        }
        Self(statements)
    }

    /// Every action and resource that is allowed, and that none of these calls needs.
    #[must_use]
    pub fn unused(&self, calls: &BTreeSet<Call>) -> Vec<(String, String)> {
        let pairs = self.0.iter().flat_map(|statement| {
            let resources = texts(&statement["Resource"]);
            let pairs = texts(&statement["Action"]).into_iter();
            pairs.flat_map(move |action| resources.clone().into_iter().map(move |resource| (action.clone(), resource)))
        });
        let used = |action: &str, resource: &str| {
            calls.iter().any(|call| call.action == action && covers(resource, &call.resource))
        };
        pairs.filter(|(action, resource)| !used(action, resource)).collect()
    }

    /// Whether one statement allows this call.
    #[must_use]
    pub fn allows(&self, call: &Call) -> bool {
        self.0.iter().any(|statement| {
            let conditions = statement["Condition"].as_object().into_iter().flatten();
            let mut conditions = conditions.flat_map(|(operator, keys)| {
                keys.as_object().unwrap().iter().map(move |(key, values)| (operator.as_str(), key, texts(values)))
            });
            texts(&statement["Action"]).contains(&call.action)
                && texts(&statement["Resource"]).iter().any(|resource| covers(resource, &call.resource))
                && conditions.all(|(operator, key, values)| match (operator, call.context.get(key)) {
                    ("StringEquals" | "StringEqualsIfExists", Some(found)) => {
                        found.len() == 1 && found.iter().all(|found| values.contains(found))
                    }
                    ("ForAllValues:StringEquals", Some(found)) => found.iter().all(|found| values.contains(found)),
                    (operator, None) => operator != "StringEquals",
                    _ => false,
                })
        })
    }
}

/// Whether a policy's resource means this one; its wildcard, if there is one, is at the end.
fn covers(pattern: &str, resource: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == resource,
        Some((start, "")) => resource.starts_with(start),
        Some(_) => panic!("this test does not know {pattern}"),
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// moto writes bodies in base64.
fn base64_decoded(text: &str) -> Vec<u8> {
    let bits = text.bytes().filter(|byte| *byte != b'=').flat_map(|byte| {
        let value =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|known| *known == byte);
        let value = value.unwrap();
        (0..6).rev().map(move |bit| (value >> bit) & 1 == 1)
    });
    let bits: Vec<bool> = bits.collect();
    bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
}
