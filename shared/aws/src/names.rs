//! Names of secrets and parameters, checked before they are used: an operator's typing error is a configuration problem
//! with a hint, not a puzzling answer of the store.

/// A name that no secret or parameter of ours can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}; hint: {hint}")]
pub struct NameError {
    expected: &'static str,
    found: String,
    hint: String,
}

/// A foreign string as a message may show it: escaped, and cut at 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
    if text.chars().nth(64).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

/// A secret's ARN or name, usable from `region`.
pub(crate) fn secret_id(id: &str, region: &str) -> Result<String, NameError> {
    let expected = "the ARN or the name of a secret";
    let refuse = |hint: String| NameError { expected, found: quoted(id), hint };
    let name = match id.strip_prefix("arn:") {
        Some(rest) => arn_name(rest, "secretsmanager", "secret:", region).map_err(refuse)?,
        None => id,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    if name.is_empty() || name.len() > 519 || !name.chars().all(plain) {
        return Err(refuse("letters, digits and /_+=.@- only, at most 512".to_owned()));
    }
    Ok(id.to_owned())
}

/// A parameter's ARN or name, usable from `region`. A selector (`name:3`, `name:label`) would pin an old version and is
/// refused.
pub(crate) fn parameter_name(id: &str, region: &str) -> Result<String, NameError> {
    let expected = "the name or the ARN of a parameter";
    let refuse = |hint: String| NameError { expected, found: quoted(id), hint };
    let name = match id.strip_prefix("arn:") {
        Some(rest) => arn_name(rest, "ssm", "parameter/", region).map_err(refuse)?,
        None => id,
    };
    if name.contains(':') {
        return Err(refuse(
            "the current version is always read: remove the version or label after the colon".to_owned(),
        ));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    if name.is_empty() || name.len() > 1_011 || !name.chars().all(plain) {
        return Err(refuse("letters, digits and /_.- only, at most 1011".to_owned()));
    }
    Ok(id.to_owned())
}

/// A function's plain name: an ARN could be another account's, a qualifier another version's.
pub(crate) fn function_name(id: &str) -> Result<String, NameError> {
    let expected = "the name of a function";
    plain_name(id, 64, expected, "letters, digits, - and _ only, at most 64; no ARN, no qualifier")
}

/// An alias: a name that is no version's.
pub(crate) fn alias_name(id: &str) -> Result<String, NameError> {
    let expected = "the alias of a function";
    if id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NameError {
            expected,
            found: quoted(id),
            hint: "a number is a version: name the alias".to_owned(),
        });
    }
    plain_name(id, 128, expected, "letters, digits, - and _ only, at most 128")
}

fn plain_name(id: &str, most: usize, expected: &'static str, hint: &str) -> Result<String, NameError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if id.is_empty() || id.len() > most || !id.chars().all(plain) {
        return Err(NameError { expected, found: quoted(id), hint: hint.to_owned() });
    }
    Ok(id.to_owned())
}

/// The resource's name in `PARTITION:SERVICE:REGION:ACCOUNT:KIND…`, or a hint what is wrong.
fn arn_name<'a>(rest: &'a str, service: &str, kind: &str, region: &str) -> Result<&'a str, String> {
    let mut parts = rest.splitn(5, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (partition, found_service, found_region, account, resource) = (next(), next(), next(), next(), next());
    if !partition.starts_with("aws") || found_service != service {
        return Err(format!("write arn:aws:{service}:REGION:ACCOUNT:{kind}NAME"));
    }
    if found_region != region {
        return Err(format!("this process calls {region}: a document of another region cannot be read by its ARN"));
    }
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("an account is 12 digits".to_owned());
    }
    resource.strip_prefix(kind).ok_or_else(|| format!("write arn:aws:{service}:REGION:ACCOUNT:{kind}NAME"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REGION: &str = "eu-west-1";

    #[test]
    fn a_function_is_named_without_account_version_or_path() {
        assert_eq!(function_name("dev-issuer").as_deref(), Ok("dev-issuer"));
        assert_eq!(alias_name("live").as_deref(), Ok("live"));
        for bad in ["", "arn:aws:lambda:eu-west-1:111122223333:function:x", "issuer:live", "a/b", "$LATEST", "x y"] {
            assert!(function_name(bad).is_err() && alias_name(bad).is_err(), "{bad}");
        }
        assert!(alias_name("7").is_err());
    }

    #[test]
    fn names_and_arns_of_the_own_region_pass() {
        for good in ["jwt-issuer/ring", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:jwt-issuer/ring-AbCdEf"] {
            assert_eq!(secret_id(good, REGION).as_deref(), Ok(good));
        }
        for good in ["/jwt-issuer/jwks", "mapping", "arn:aws-us-gov:ssm:eu-west-1:111122223333:parameter/jwt/jwks"] {
            assert_eq!(parameter_name(good, REGION).as_deref(), Ok(good));
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_hint() {
        for (bad, hint) in [
            ("", "letters"),
            ("a b", "letters"),
            ("arn:aws:secretsmanager:us-east-1:111122223333:secret:x", "this process calls eu-west-1"),
            ("arn:aws:ssm:eu-west-1:111122223333:parameter/x", "write arn:aws:secretsmanager:"),
            ("arn:aws:secretsmanager:eu-west-1:1111:secret:x", "12 digits"),
            ("arn:aws:secretsmanager:eu-west-1:111122223333:x", "secret:NAME"),
            ("arn:aws:secretsmanager:eu-west-1:111122223333:secret:", "letters"),
        ] {
            let error = secret_id(bad, REGION).unwrap_err().to_string();
            assert!(error.contains(hint), "{bad}: {error}");
        }
        for (bad, hint) in [
            ("/jwt/jwks:3", "remove the version"),
            ("arn:aws:ssm:eu-west-1:111122223333:parameter/x:label", "remove the version"),
            ("/jwt\n", "letters"),
        ] {
            let error = parameter_name(bad, REGION).unwrap_err().to_string();
            assert!(error.contains(hint), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_name_panics_and_messages_stay_short_printable_lines(name in any::<String>()) {
            for error in [secret_id(&name, REGION).err(), parameter_name(&name, REGION).err()].into_iter().flatten() {
                let text = error.to_string();
                prop_assert!(text.len() < 1_200 && !text.chars().any(char::is_control), "{}", text);
            }
        }
    }
}
