//! Who a caller is: fully parsed, never optional strings, whole segments compared.

mod arn;
mod error;
mod workload;

use std::fmt::{self, Display, Formatter};

pub use self::arn::{AwsArn, AwsResource};
pub(crate) use self::arn::{account_id, iam_name, iam_path, partition_name};
pub use self::error::PrincipalError;
pub use self::workload::{KubernetesPrincipal, TokenPrincipal};
pub(crate) use self::workload::{issuer_name, service_account_uid};
use crate::charset::CharSet;
use crate::text::quoted;

/// The prefix that IAM Identity Center gives its roles.
const SSO_PREFIX: &str = "AWSReservedSSO_";

/// An authenticated caller, whatever the door. Stated complete: a new kind of caller is a decision for every rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A caller that API Gateway authenticated with `SigV4`.
    Aws(AwsPrincipal),
    /// A Kubernetes service account.
    Kubernetes(KubernetesPrincipal),
    /// The subject of a verified token of a foreign issuer.
    Token(TokenPrincipal),
}

/// An AWS caller: partition, account, kind and, where AWS gives one, the unique id that never repeats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AwsPrincipal {
    partition: String,
    account: String,
    kind: AwsKind,
    unique_id: Option<String>,
}

/// What an AWS caller is. Stated complete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AwsKind {
    /// A session of a role that is not Identity Center's.
    AssumedRole {
        /// Role name; its path is unknown.
        role: String,
        /// Session name, chosen by the caller: never part of an identity.
        session: String,
    },
    /// A person signed in through IAM Identity Center: role `AWSReservedSSO_<permission set>_<16 lower-case hex>`.
    SsoUser {
        /// Permission set, 1-32.
        permission_set: String,
        /// The sixteen hex digits.
        suffix: String,
        /// The Identity Center user name, which is the session name.
        user: String,
        /// Whether the role's real path was checked by the door.
        path: SsoPath,
    },
    /// An IAM user.
    IamUser {
        /// `/` or `/…/`.
        path: String,
        /// User name.
        user: String,
    },
    /// The account's root user.
    Root,
    /// `sts:GetFederationToken`; the name is the caller's choice.
    FederatedUser {
        /// The chosen name.
        name: String,
    },
}

/// Evidence that the IAM path of an `AWSReservedSSO_…` role is Identity Center's own. `userArn` drops the path, so the
/// name alone is forgeable; only a resource policy on `aws:PrincipalArn` in front of the door sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SsoPath {
    /// The door's resource policy denies such roles on any other path.
    Enforced,
    /// Nobody looked (every HTTP API, and REST APIs without that policy).
    #[default]
    Unproven,
}

/// The identity part of an API Gateway request context, as it came.
#[derive(Clone, Copy, Debug)]
pub struct CallerIdentity<'a> {
    /// `userArn`.
    pub user_arn: &'a str,
    /// `accountId` of the caller (not of the API's owner). Required.
    pub account_id: Option<&'a str>,
    /// `caller` (v1) or `callerId` (v2). Required.
    pub caller: Option<&'a str>,
    /// `user` (v1) or `userId` (v2). May be absent; equals `caller` when present.
    pub user: Option<&'a str>,
    /// What the door knows about paths of Identity Center roles.
    pub sso_path: SsoPath,
}

impl Principal {
    /// Parses a request context. `accountId`, `caller`, `user` and `userArn` must name one and the same caller.
    ///
    /// # Errors
    /// [`PrincipalError::Missing`] without an identity (401); otherwise when a part is malformed, over its authority's
    /// limits, disagrees with `userArn`, or is a role with the reserved prefix but not the whole form (403).
    pub fn from_caller(identity: &CallerIdentity<'_>) -> Result<Self, PrincipalError> {
        let present = |what, value: Option<&'_ str>| match value {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(PrincipalError::Missing { what }),
        };
        let text = present("userArn", Some(identity.user_arn))?;
        let account = present("accountId", identity.account_id)?;
        let caller = present("caller", identity.caller)?;
        let arn: AwsArn = text.parse()?;
        agree("accountId", arn.account(), &account)?;
        if let Some(user) = identity.user
            && user != caller
        {
            let (expected, found) = (quoted(&caller), quoted(user));
            return Err(PrincipalError::Disagreement { what: "user", expected, found });
        }
        let (partition, account, resource) = arn.into_parts();
        let (kind, unique_id) = match resource {
            AwsResource::AssumedRole { role, session } => {
                let id = caller.split_once(':').map_or(caller.as_str(), |(id, _)| id).to_owned();
                unique_id("the caller of a role session", "AROA", &id)?;
                agree("caller", &format!("{id}:{session}"), &caller)?;
                (role_kind(role, session, identity.sso_path)?, Some(id))
            }
            AwsResource::IamUser { path, user } => {
                unique_id("the caller of an IAM user", "AIDA", &caller)?;
                (AwsKind::IamUser { path, user }, Some(caller))
            }
            AwsResource::Root => {
                agree("caller", &account, &caller)?;
                (AwsKind::Root, None)
            }
            AwsResource::FederatedUser { name } => {
                agree("caller", &format!("{account}:{name}"), &caller)?;
                (AwsKind::FederatedUser { name }, None)
            }
        };
        Ok(Self::Aws(AwsPrincipal { partition, account, kind, unique_id }))
    }

    /// The kind as rules name it: `assumed-role`, `sso-user`, `iam-user`, `root`, `federated-user`,
    /// `kubernetes-service-account`, `token`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Aws(aws) => match aws.kind {
                AwsKind::AssumedRole { .. } => "assumed-role",
                AwsKind::SsoUser { .. } => "sso-user",
                AwsKind::IamUser { .. } => "iam-user",
                AwsKind::Root => "root",
                AwsKind::FederatedUser { .. } => "federated-user",
            },
            Self::Kubernetes(_) => "kubernetes-service-account",
            Self::Token(_) => "token",
        }
    }

    /// The id that its authority never gives out twice: `AROA…`, `AIDA…`, a service account's uid.
    #[must_use]
    pub fn unique_id(&self) -> Option<&str> {
        match self {
            Self::Aws(aws) => aws.unique_id(),
            Self::Kubernetes(account) => Some(account.uid()),
            Self::Token(_) => None,
        }
    }
}

impl AwsPrincipal {
    /// `aws`, `aws-cn`, …
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// Twelve digits.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> &AwsKind {
        &self.kind
    }

    /// `AROA…` of a role, `AIDA…` of an IAM user, none for root and federated users.
    #[must_use]
    pub fn unique_id(&self) -> Option<&str> {
        self.unique_id.as_deref()
    }
}

impl Display for Principal {
    /// The canonical form, safe for logs: the ARN of an AWS caller, else the account or subject with its issuer.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(aws) => aws.fmt(f),
            Self::Kubernetes(account) => account.fmt(f),
            Self::Token(token) => token.fmt(f),
        }
    }
}

impl Display for AwsPrincipal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { partition, account, .. } = self;
        match &self.kind {
            AwsKind::AssumedRole { role, session } => {
                write!(f, "arn:{partition}:sts::{account}:assumed-role/{role}/{session}")
            }
            AwsKind::SsoUser { permission_set, suffix, user, .. } => {
                write!(f, "arn:{partition}:sts::{account}:assumed-role/{SSO_PREFIX}{permission_set}_{suffix}/{user}")
            }
            AwsKind::IamUser { path, user } => write!(f, "arn:{partition}:iam::{account}:user{path}{user}"),
            AwsKind::Root => write!(f, "arn:{partition}:iam::{account}:root"),
            AwsKind::FederatedUser { name } => write!(f, "arn:{partition}:sts::{account}:federated-user/{name}"),
        }
    }
}

/// Whether a role name (or the fixed beginning of a pattern) lies in Identity Center's reserved name space. Compared
/// without case, because IAM names are unique without case.
pub(crate) fn is_reserved_role(name: &str) -> bool {
    name.get(..SSO_PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(SSO_PREFIX))
}

/// Prefix, then 1-124 ASCII letters and digits.
pub(crate) fn unique_id(what: &'static str, prefix: &'static str, text: &str) -> Result<(), PrincipalError> {
    let good = text
        .strip_prefix(prefix)
        .is_some_and(|rest| (1..=124).contains(&rest.len()) && CharSet::ALPHANUMERIC.holds(rest));
    let expected = match prefix {
        "AROA" => "AROA and 1-124 letters and digits",
        _ => "AIDA and 1-124 letters and digits",
    };
    if good { Ok(()) } else { Err(PrincipalError::Malformed { what, expected, found: quoted(text) }) }
}

fn agree(what: &'static str, expected: &str, found: &str) -> Result<(), PrincipalError> {
    if expected == found {
        return Ok(());
    }
    Err(PrincipalError::Disagreement { what, expected: quoted(expected), found: quoted(found) })
}

fn role_kind(role: String, session: String, path: SsoPath) -> Result<AwsKind, PrincipalError> {
    if !is_reserved_role(&role) {
        return Ok(AwsKind::AssumedRole { role, session });
    }
    // The permission set may itself contain underscores: the suffix is what follows the last one.
    let parts = role.strip_prefix(SSO_PREFIX).and_then(|rest| rest.rsplit_once('_'));
    match parts {
        Some((permission_set, suffix))
            if suffix.len() == 16
                && CharSet::LOWER_HEX.holds(suffix)
                && iam_name("a permission set", permission_set, 1, 32).is_ok() =>
        {
            let (permission_set, suffix) = (permission_set.to_owned(), suffix.to_owned());
            Ok(AwsKind::SsoUser { permission_set, suffix, user: session, path })
        }
        _ => Err(PrincipalError::ReservedRole { found: quoted(&role) }),
    }
}
