use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::PrincipalError;
use crate::charset::CharSet;
use crate::text::quoted;

/// Longest ARN that is looked at, in bytes (IAM's own limit for ARNs).
const MAX_ARN: usize = 2048;
const MAX_PARTITION: usize = 32;

/// The ARN of a caller: one of the four forms that `userArn` and `sts:GetCallerIdentity` can have.
///
/// `FromStr` and `Display` are inverse: every accepted text prints as it was read. Any other ARN, a segment too many, a
/// character outside ASCII or a name over its authority's limit is refused.
///
/// ```
/// use token_claims::{AwsArn, AwsResource};
///
/// let arn: AwsArn = "arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1".parse()?;
/// assert_eq!(arn.account(), "111122223333");
/// assert!(matches!(arn.resource(), AwsResource::AssumedRole { role, .. } if role == "etl-nightly"));
/// assert_eq!(arn.to_string(), "arn:aws:sts::111122223333:assumed-role/etl-nightly/i-0ab1");
/// # Ok::<(), token_claims::PrincipalError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AwsArn {
    partition: String,
    account: String,
    resource: AwsResource,
}

/// What an [`AwsArn`] names within its account. Complete: AWS has no other caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AwsResource {
    /// `assumed-role/ROLE/SESSION`. The role's path is not in it (AWS drops it).
    AssumedRole {
        /// Role name, 1-64.
        role: String,
        /// Session name, 2-64, chosen by whoever assumed the role.
        session: String,
    },
    /// `user/PATH/NAME`.
    IamUser {
        /// `/` or `/…/`, at most 512 bytes.
        path: String,
        /// User name, 1-64.
        user: String,
    },
    /// `root`.
    Root,
    /// `federated-user/NAME`.
    FederatedUser {
        /// 2-32, chosen by the caller of `sts:GetFederationToken`.
        name: String,
    },
}

impl AwsArn {
    /// `aws`, `aws-cn`, `aws-us-gov`, …
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// Twelve digits.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// What it names.
    #[must_use]
    pub const fn resource(&self) -> &AwsResource {
        &self.resource
    }

    pub(super) fn into_parts(self) -> (String, String, AwsResource) {
        (self.partition, self.account, self.resource)
    }
}

impl FromStr for AwsArn {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Self, PrincipalError> {
        if text.len() > MAX_ARN {
            return Err(PrincipalError::TooLong { what: "an ARN", max: MAX_ARN, found: text.len() });
        }
        // Six fields; the sixth is the rest, because an IAM path may contain colons.
        let mut fields = text.splitn(6, ':');
        let mut next = || fields.next().unwrap_or_default();
        let (scheme, partition, service, region, account, resource) = (next(), next(), next(), next(), next(), next());
        let malformed = || PrincipalError::Malformed {
            what: "the ARN of a caller",
            expected: "arn:PARTITION:sts::ACCOUNT:assumed-role/ROLE/SESSION, arn:PARTITION:iam::ACCOUNT:user/PATH/NAME, \
                       arn:PARTITION:iam::ACCOUNT:root or arn:PARTITION:sts::ACCOUNT:federated-user/NAME",
            found: quoted(text),
        };
        if scheme != "arn" || !region.is_empty() {
            return Err(malformed());
        }
        partition_name(partition)?;
        account_id(account)?;
        let (kind, rest) = resource.split_once('/').unwrap_or((resource, ""));
        let resource = match (service, kind) {
            ("sts", "assumed-role") => {
                let (role, session) = rest.split_once('/').ok_or_else(malformed)?;
                iam_name("a role name", role, 1, 64)?;
                iam_name("a session name", session, 2, 64)?;
                AwsResource::AssumedRole { role: role.to_owned(), session: session.to_owned() }
            }
            ("sts", "federated-user") => {
                iam_name("a federated user's name", rest, 2, 32)?;
                AwsResource::FederatedUser { name: rest.to_owned() }
            }
            ("iam", "user") => {
                let at = resource.rfind('/').ok_or_else(malformed)?;
                let (head, user) = resource.split_at_checked(at + 1).ok_or_else(malformed)?;
                let path = head.strip_prefix("user").ok_or_else(malformed)?;
                iam_name("a user name", user, 1, 64)?;
                iam_path(path)?;
                AwsResource::IamUser { path: path.to_owned(), user: user.to_owned() }
            }
            ("iam", "root") if resource == "root" => AwsResource::Root,
            _ => return Err(malformed()),
        };
        Ok(Self { partition: partition.to_owned(), account: account.to_owned(), resource })
    }
}

impl Display for AwsArn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { partition, account, resource } = self;
        match resource {
            AwsResource::AssumedRole { role, session } => {
                write!(f, "arn:{partition}:sts::{account}:assumed-role/{role}/{session}")
            }
            AwsResource::IamUser { path, user } => write!(f, "arn:{partition}:iam::{account}:user{path}{user}"),
            AwsResource::Root => write!(f, "arn:{partition}:iam::{account}:root"),
            AwsResource::FederatedUser { name } => write!(f, "arn:{partition}:sts::{account}:federated-user/{name}"),
        }
    }
}

/// `aws(-[a-z]+)*`, at most 32 bytes.
pub(crate) fn partition_name(text: &str) -> Result<(), PrincipalError> {
    let mut words = text.split('-');
    let good = text.len() <= MAX_PARTITION
        && words.next() == Some("aws")
        && words.all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()));
    let found = || quoted(text);
    if good {
        Ok(())
    } else {
        Err(PrincipalError::Malformed { what: "a partition", expected: "aws, aws-cn, aws-us-gov, …", found: found() })
    }
}

/// Twelve digits.
pub(crate) fn account_id(text: &str) -> Result<(), PrincipalError> {
    if text.len() == 12 && CharSet::DIGITS.holds(text) {
        Ok(())
    } else {
        Err(PrincipalError::Malformed { what: "an account id", expected: "12 digits", found: quoted(text) })
    }
}

/// `[\w+=,.@-]{min,max}`.
pub(crate) fn iam_name(what: &'static str, text: &str, min: usize, max: usize) -> Result<(), PrincipalError> {
    if text.len() > max {
        return Err(PrincipalError::TooLong { what, max, found: text.len() });
    }
    if text.len() < min || !CharSet::IAM_NAME.holds(text) {
        let expected = if min > 1 {
            "at least two of A-Z a-z 0-9 _ + = , . @ -"
        } else {
            "at least one of A-Z a-z 0-9 _ + = , . @ -"
        };
        return Err(PrincipalError::Malformed { what, expected, found: quoted(text) });
    }
    Ok(())
}

/// `/` or `/[!-~]+/`, at most 512 bytes (IAM `pathType`).
pub(crate) fn iam_path(text: &str) -> Result<(), PrincipalError> {
    const MAX: usize = 512;
    if text.len() > MAX {
        return Err(PrincipalError::TooLong { what: "a path", max: MAX, found: text.len() });
    }
    if text.starts_with('/') && text.ends_with('/') && text != "//" && CharSet::GRAPHIC.holds(text) {
        return Ok(());
    }
    Err(PrincipalError::Malformed {
        what: "a path",
        expected: "\"/\" or \"/…/\" in printable ASCII",
        found: quoted(text),
    })
}
