//! The mapping document: which principal may have which token.

mod compile;
mod document;
mod duration;
mod extra;
mod kind;
mod pattern;
mod problems;
mod profile;
mod proof;
mod reader;
mod resolve;
mod selector;
mod template;

pub use self::problems::{MappingErrors, Problem};
pub use self::profile::{Profile, ProfileKind, ScopeForm};
pub use self::resolve::{Grant, Refusal, RuleOutcome, RuleVerdict, TokenRequest};
use crate::principal::{Principal, SsoPath};

/// What the shell knows and the document does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompileOptions {
    /// `SSO_PATH_ENFORCED`: whether rules for Identity Center users may do without `role_ids`.
    pub sso_path: SsoPath,
    /// `AUDIENCE`: the default audience; `defaults.audience` may not differ.
    pub audience: Option<String>,
    /// JOSE names of what the key ring can sign with, the default first. Empty means unknown: not checked.
    pub algorithms: Vec<String>,
    /// The longest lifetime, in seconds, that the key ring's retention covers. A document that says more does not load;
    /// the built-in hour gives way. `None` means unknown: not checked.
    pub max_token_ttl_s: Option<u64>,
}

/// A compiled mapping document: immutable, first match wins, no match refuses.
///
/// ```
/// use token_claims::{CallerIdentity, CompileOptions, Principal, SsoPath, SubjectMapping, TokenRequest};
///
/// let mapping = SubjectMapping::compile(
///     r#"
///     [defaults]
///     audience = "https://api.example.com"
///
///     [[rule]]
///     name = "etl workers"
///     principal = { kind = "assumed-role", accounts = ["111122223333"], role = "etl-*" }
///     subject = "{account}/{role}"
///     scopes = ["load"]
///     "#,
///     &CompileOptions::default(),
/// )?;
/// let principal = Principal::from_caller(&CallerIdentity {
///     user_arn: "arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1",
///     account_id: Some("111122223333"),
///     caller: Some("AROAEXAMPLE:i-0ab1"),
///     user: None,
///     sso_path: SsoPath::Unproven,
/// })?;
/// let grant = mapping.resolve(&principal, &TokenRequest::default())?;
/// assert_eq!((grant.subject(), grant.lifetime_s()), ("111122223333/etl-nightly", 900));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SubjectMapping {
    rules: Vec<compile::Rule>,
}

impl SubjectMapping {
    /// Compiles a document of at most 64 KiB and 256 rules. Never panics; time and memory are bounded.
    ///
    /// # Errors
    /// Every problem of the document at once: syntax, unknown keys, values out of bounds, rules that can never apply,
    /// rules whose evidence is forgeable, and subjects that two different identities could share.
    pub fn compile(source: &str, options: &CompileOptions) -> Result<Self, MappingErrors> {
        compile::compile(source, options)
    }

    /// What the principal gets. A request only narrows what the first matching rule grants.
    ///
    /// # Errors
    /// When no rule matches, the matching rule yields no subject, or more is asked for than it grants.
    pub fn resolve(&self, principal: &Principal, request: &TokenRequest) -> Result<Grant, Refusal> {
        resolve::resolve(&self.rules, principal, request)
    }

    /// What every rule says about a principal, in order. The first that does not say "no match" decides.
    #[must_use]
    pub fn explain(&self, principal: &Principal) -> Vec<RuleVerdict> {
        resolve::explain(&self.rules, principal)
    }

    /// The names of the rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.name.as_str())
    }
}
