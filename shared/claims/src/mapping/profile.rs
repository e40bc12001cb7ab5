//! What an audience expects of a token's form.

use super::problems::Problems;
use super::reader::Reader;
use crate::text::Quoted;

/// Signature algorithms that a profile may name.
const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

/// The named sets of rules about a token's form. Stated complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProfileKind {
    /// `generic`: `typ` `JWT`, `scope` space-separated (RFC 8693 section 4.2).
    Generic,
    /// `snowflake-external-oauth`: RS256, `typ` `JWT`, roles in `scp` or in a comma-separated `scope`.
    SnowflakeExternalOauth,
    /// `rfc9068`: `typ` `at+jwt`, `client_id`, `scope` space-separated.
    Rfc9068,
}

/// How scopes appear in the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScopeForm {
    /// `"scope": "a b"`.
    Space,
    /// `"scp": ["a", "b"]`.
    Array,
    /// `"scope": "a,b"`.
    Comma,
}

/// The form of tokens for one audience.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Profile {
    kind: ProfileKind,
    algorithm: Option<String>,
    scope_form: ScopeForm,
}

impl Profile {
    /// The profile of an audience that the document does not describe.
    pub(super) const GENERIC: Self = Self { kind: ProfileKind::Generic, algorithm: None, scope_form: ScopeForm::Space };

    /// Which set of rules.
    #[must_use]
    pub const fn kind(&self) -> ProfileKind {
        self.kind
    }

    /// The JOSE algorithm that the token must be signed with; none means the ring's default.
    #[must_use]
    pub fn algorithm(&self) -> Option<&str> {
        self.algorithm.as_deref()
    }

    /// The `typ` header: `JWT`, or `at+jwt` (RFC 9068 section 2.1).
    #[must_use]
    pub const fn typ(&self) -> &'static str {
        match self.kind {
            ProfileKind::Generic | ProfileKind::SnowflakeExternalOauth => "JWT",
            ProfileKind::Rfc9068 => "at+jwt",
        }
    }

    /// How scopes appear.
    #[must_use]
    pub const fn scope_form(&self) -> ScopeForm {
        self.scope_form
    }

    /// Whether the relying party compares subjects without case, as Snowflake does with login names. The host name
    /// counts too, so that a forgotten profile cannot weaken the collision proof.
    pub(super) fn ignores_case(&self, audience: &str) -> bool {
        self.kind == ProfileKind::SnowflakeExternalOauth
            || audience.to_ascii_lowercase().contains("snowflakecomputing.com")
    }
}

/// `[audience."…"]`.
pub(super) fn read(mut table: Reader<'_>, problems: &mut Problems) -> Option<Profile> {
    let before = problems.count();
    let place = table.place.clone();
    let kind = match table.required_string("profile", "\"generic\"", problems) {
        None => ProfileKind::Generic,
        Some(name) => match name.value.as_str() {
            "generic" => ProfileKind::Generic,
            "snowflake-external-oauth" => ProfileKind::SnowflakeExternalOauth,
            "rfc9068" => ProfileKind::Rfc9068,
            other => {
                let message = format!("expected a profile in {place}, found {}", Quoted(other));
                problems.push(name.line, message, "profiles are generic, snowflake-external-oauth and rfc9068");
                ProfileKind::Generic
            }
        },
    };
    let snowflake = kind == ProfileKind::SnowflakeExternalOauth;
    let mut algorithm = snowflake.then(|| "RS256".to_owned());
    if let Some(alg) = table.string("alg", problems) {
        if !ALGORITHMS.contains(&alg.value.as_str()) {
            let message =
                format!("expected alg in {place} to be one of {}, found {}", ALGORITHMS.join(", "), Quoted(&alg.value));
            problems.push(alg.line, message, "names of RFC 7518 section 3.1 and RFC 8037, in their case");
        } else if snowflake && alg.value != "RS256" {
            let message = format!("expected alg in {place} to be RS256, found {}", Quoted(&alg.value));
            problems.push(alg.line, message, "Snowflake's External OAuth is documented for RS256; leave alg out");
        } else {
            algorithm = Some(alg.value);
        }
    }
    let scope_form = match table.string("scope_claim", problems) {
        None if snowflake => ScopeForm::Array,
        None => ScopeForm::Space,
        Some(name) if !snowflake => {
            let message =
                format!("expected scope_claim only with profile snowflake-external-oauth, found it in {place}");
            problems.push(name.line, message, "the other profiles use scope, space-separated");
            ScopeForm::Space
        }
        Some(name) => match name.value.as_str() {
            "scp" => ScopeForm::Array,
            "scope" => ScopeForm::Comma,
            other => {
                let message = format!("expected scope_claim in {place} to be scp or scope, found {}", Quoted(other));
                problems.push(
                    name.line,
                    message,
                    "it follows EXTERNAL_OAUTH_SCOPE_MAPPING_ATTRIBUTE of the integration",
                );
                ScopeForm::Array
            }
        },
    };
    table.finish(problems);
    (problems.count() == before).then_some(Profile { kind, algorithm, scope_form })
}
