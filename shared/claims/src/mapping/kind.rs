//! The kinds of principal that a rule can name: what each matches on, offers to templates and is identified by.

use crate::charset::CharSet;
use crate::principal::{AwsKind, AwsPrincipal, Principal};

/// A fact about a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Field {
    Partition,
    Account,
    /// The Identity Center behind an account: known to the mapping, not to the principal.
    Directory,
    Role,
    /// `AROA…`, `AIDA…`, a service account's uid.
    UniqueId,
    PermissionSet,
    User,
    Path,
    Name,
    Issuer,
    Namespace,
    Subject,
}

impl Field {
    /// The variable's name in templates and the word for it in messages.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Account => "account",
            Self::Directory => "directory",
            Self::Role => "role",
            Self::UniqueId => "unique id",
            Self::PermissionSet => "permission set",
            Self::User => "user",
            Self::Path => "path",
            Self::Name => "name",
            Self::Issuer => "issuer",
            Self::Namespace => "namespace",
            Self::Subject => "subject",
        }
    }
}

/// How the value of a matcher key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Accounts,
    Directory,
    /// One unique id with this prefix; needs exact values for the other patterns of the rule.
    Id(&'static str),
    /// Several, each its own evidence.
    Ids(&'static str),
    Issuers,
    Partitions,
    /// Exact or with one `*`.
    Pattern,
    /// A service account's uid.
    Uid,
}

/// One key of a rule's `principal` table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) field: Field,
    pub(super) form: Form,
    pub(super) required: bool,
}

const fn key(name: &'static str, field: Field, form: Form, required: bool) -> Key {
    Key { name, field, form, required }
}

const PARTITIONS: Key = key("partitions", Field::Partition, Form::Partitions, false);
const ACCOUNTS: Key = key("accounts", Field::Account, Form::Accounts, true);
const ISSUERS: Key = key("issuers", Field::Issuer, Form::Issuers, true);

/// A kind of principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    AssumedRole,
    SsoUser,
    IamUser,
    Root,
    FederatedUser,
    Kubernetes,
    Token,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::AssumedRole,
        Self::SsoUser,
        Self::IamUser,
        Self::Root,
        Self::FederatedUser,
        Self::Kubernetes,
        Self::Token,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AssumedRole => "assumed-role",
            Self::SsoUser => "sso-user",
            Self::IamUser => "iam-user",
            Self::Root => "root",
            Self::FederatedUser => "federated-user",
            Self::Kubernetes => "kubernetes-service-account",
            Self::Token => "token",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) const fn is_aws(self) -> bool {
        !matches!(self, Self::Kubernetes | Self::Token)
    }

    /// What a rule of this kind matches on.
    pub(super) const fn keys(self) -> &'static [Key] {
        const ASSUMED_ROLE: &[Key] = &[
            PARTITIONS,
            ACCOUNTS,
            key("role", Field::Role, Form::Pattern, true),
            key("role_id", Field::UniqueId, Form::Id("AROA"), false),
        ];
        // Exactly one of `directory` and `accounts` is required: checked by the compiler.
        const SSO_USER: &[Key] = &[
            PARTITIONS,
            key("directory", Field::Directory, Form::Directory, false),
            key("accounts", Field::Account, Form::Accounts, false),
            key("permission_set", Field::PermissionSet, Form::Pattern, true),
            key("user", Field::User, Form::Pattern, false),
            key("role_ids", Field::UniqueId, Form::Ids("AROA"), false),
        ];
        const IAM_USER: &[Key] = &[
            PARTITIONS,
            ACCOUNTS,
            key("user", Field::User, Form::Pattern, true),
            key("path", Field::Path, Form::Pattern, false),
            key("user_id", Field::UniqueId, Form::Id("AIDA"), false),
        ];
        const ROOT: &[Key] = &[PARTITIONS, ACCOUNTS];
        const FEDERATED_USER: &[Key] = &[PARTITIONS, ACCOUNTS, key("user", Field::Name, Form::Pattern, true)];
        const KUBERNETES: &[Key] = &[
            ISSUERS,
            key("namespace", Field::Namespace, Form::Pattern, true),
            key("name", Field::Name, Form::Pattern, true),
            key("uid", Field::UniqueId, Form::Uid, false),
        ];
        const TOKEN: &[Key] = &[ISSUERS, key("subject", Field::Subject, Form::Pattern, true)];
        match self {
            Self::AssumedRole => ASSUMED_ROLE,
            Self::SsoUser => SSO_USER,
            Self::IamUser => IAM_USER,
            Self::Root => ROOT,
            Self::FederatedUser => FEDERATED_USER,
            Self::Kubernetes => KUBERNETES,
            Self::Token => TOKEN,
        }
    }

    /// What templates may use.
    pub(super) const fn variables(self) -> &'static [Field] {
        match self {
            Self::AssumedRole => &[Field::Account, Field::Role],
            Self::SsoUser => &[Field::Account, Field::User],
            Self::IamUser => &[Field::Account, Field::Path, Field::User],
            Self::Root => &[Field::Account],
            Self::FederatedUser => &[Field::Account, Field::Name],
            Self::Kubernetes => &[Field::Issuer, Field::Namespace, Field::Name],
            Self::Token => &[Field::Issuer, Field::Subject],
        }
    }

    /// What makes two principals of this kind the same identity. Sessions and unique ids are not in it: a role keeps
    /// its subject when it is made anew, and whoever must not rely on names pins the id.
    pub(super) const fn identity(self) -> &'static [Field] {
        match self {
            Self::AssumedRole => &[Field::Partition, Field::Account, Field::Role],
            Self::SsoUser => &[Field::Partition, Field::Directory, Field::User],
            Self::IamUser => &[Field::Partition, Field::Account, Field::User],
            Self::Root => &[Field::Partition, Field::Account],
            Self::FederatedUser => &[Field::Partition, Field::Account, Field::Name],
            Self::Kubernetes => &[Field::Issuer, Field::Namespace, Field::Name],
            Self::Token => &[Field::Issuer, Field::Subject],
        }
    }

    /// Whether the authority that names this field treats names differing only in case as one. Identity Center user
    /// names are a setting of the directory.
    pub(super) const fn ignores_case(self, field: Field) -> bool {
        match field {
            Field::Account | Field::Role | Field::Namespace | Field::Path | Field::Partition => true,
            Field::User => matches!(self, Self::IamUser),
            Field::Name => matches!(self, Self::Kubernetes),
            Field::Directory | Field::UniqueId | Field::PermissionSet | Field::Issuer | Field::Subject => false,
        }
    }

    /// Characters and shortest and longest length of a field, as the parser of principals lets it in.
    pub(super) const fn alphabet(self, field: Field) -> (CharSet, usize, usize) {
        match (self, field) {
            (_, Field::Account) => (CharSet::DIGITS, 12, 12),
            (_, Field::PermissionSet) => (CharSet::IAM_NAME, 1, 32),
            (_, Field::Path) => (CharSet::GRAPHIC, 1, 512),
            // A session of exactly 64 characters may have been cut, so it is no user.
            (Self::SsoUser, Field::User) => (CharSet::IAM_NAME, 2, 63),
            (Self::FederatedUser, Field::Name) => (CharSet::IAM_NAME, 2, 32),
            (Self::Kubernetes, Field::Namespace) => (CharSet::DNS_LABEL, 1, 63),
            (Self::Kubernetes, Field::Name) => (CharSet::DNS_NAME, 1, 253),
            (_, Field::Issuer | Field::Subject) => (CharSet::GRAPHIC, 1, 255),
            _ => (CharSet::IAM_NAME, 1, 64),
        }
    }

    pub(super) const fn of(principal: &Principal) -> Self {
        match principal {
            Principal::Aws(aws) => match aws.kind() {
                AwsKind::AssumedRole { .. } => Self::AssumedRole,
                AwsKind::SsoUser { .. } => Self::SsoUser,
                AwsKind::IamUser { .. } => Self::IamUser,
                AwsKind::Root => Self::Root,
                AwsKind::FederatedUser { .. } => Self::FederatedUser,
            },
            Principal::Kubernetes(_) => Self::Kubernetes,
            Principal::Token(_) => Self::Token,
        }
    }
}

/// A fact of a principal, when its kind has it.
pub(super) fn fact(principal: &Principal, field: Field) -> Option<&str> {
    match (principal, field) {
        (_, Field::UniqueId) => principal.unique_id(),
        (Principal::Aws(aws), _) => aws_fact(aws, field),
        (Principal::Kubernetes(account), Field::Issuer) => Some(account.issuer()),
        (Principal::Kubernetes(account), Field::Namespace) => Some(account.namespace()),
        (Principal::Kubernetes(account), Field::Name) => Some(account.name()),
        (Principal::Token(token), Field::Issuer) => Some(token.issuer()),
        (Principal::Token(token), Field::Subject) => Some(token.subject()),
        _ => None,
    }
}

fn aws_fact(aws: &AwsPrincipal, field: Field) -> Option<&str> {
    match (aws.kind(), field) {
        (_, Field::Partition) => Some(aws.partition()),
        (_, Field::Account) => Some(aws.account()),
        (AwsKind::AssumedRole { role, .. }, Field::Role) => Some(role),
        (AwsKind::SsoUser { permission_set, .. }, Field::PermissionSet) => Some(permission_set),
        (AwsKind::SsoUser { user, .. } | AwsKind::IamUser { user, .. }, Field::User) => Some(user),
        (AwsKind::IamUser { path, .. }, Field::Path) => Some(path),
        (AwsKind::FederatedUser { name }, Field::Name) => Some(name),
        _ => None,
    }
}
