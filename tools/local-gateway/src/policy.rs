//! The API's resource policy, as the infrastructure writes it: `GET /.well-known/*` for everybody, `POST /token` for
//! principals of the organization, and a Deny for roles that look like IAM Identity Center's but are not on its path.

use crate::principals::{SSO_ROLE_PREFIX, SamplePrincipal};

/// What the policy says about a signed request to `POST /token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An Allow matches and no Deny.
    Allow,
    /// No statement allows it: another organization.
    ImplicitDeny,
    /// The Deny for forged Identity Center roles matches.
    ExplicitDeny,
}

/// Applies the policy of an API that belongs to `organization`.
#[must_use]
pub fn judge(principal: &SamplePrincipal, organization: &str) -> Verdict {
    // Deny if ArnLike aws:PrincipalArn "arn:*:iam::*:role/*AWSReservedSSO_*"
    //    and ArnNotLike aws:PrincipalArn "arn:*:iam::*:role/aws-reserved/sso.amazonaws.com/*".
    if let Some(resource) = role_resource(principal)
        && resource.contains(SSO_ROLE_PREFIX)
        && !resource.starts_with("role/aws-reserved/sso.amazonaws.com/")
    {
        return Verdict::ExplicitDeny;
    }
    // Allow if StringEquals aws:PrincipalOrgID ORGANIZATION.
    if principal.organization_id() == organization { Verdict::Allow } else { Verdict::ImplicitDeny }
}

/// The resource part of `aws:PrincipalArn`, `role/PATH/NAME`, of an assumed-role session; unlike `userArn` it has the path.
/// `None` for everything that is no such session: the conditions on roles do not meet it.
fn role_resource(principal: &SamplePrincipal) -> Option<String> {
    let mut parts = principal.arn().splitn(6, ':');
    let (arn, _partition, service, _region, _account, resource) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if (arn, service) != ("arn", "sts") {
        return None;
    }
    let role = resource.strip_prefix("assumed-role/")?.split('/').next()?;
    Some(format!("role{}{role}", principal.role_path(role)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Verdict, judge};
    use crate::principals::Principals;

    fn verdict(arn: &str, role_path: Option<&str>, organization: &str) -> Verdict {
        let mut principal = json!({"name": "p", "arn": arn, "caller": "c", "account_id": "a", "organization_id": organization,
            "access_key_id": "AKIA0000000000EXAMPLE", "secret_access_key": "s"});
        if let Some(path) = role_path {
            principal["role_path"] = path.into();
        }
        let principals = Principals::parse(&json!([principal]).to_string()).unwrap();
        judge(&principals.all()[0], "o-exampleorg1")
    }

    const SSO: &str =
        "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Analyst_0123456789abcdef/alice@example.com";

    #[test]
    fn only_the_own_organization_is_allowed() {
        assert_eq!(verdict(SSO, None, "o-exampleorg1"), Verdict::Allow);
        for other in ["o-exampleorg2", "", "aws:PrincipalOrgID", "o-exampleorg1x"] {
            assert_eq!(verdict(SSO, None, other), Verdict::ImplicitDeny, "{other}");
        }
    }

    #[test]
    fn a_role_that_only_looks_like_identity_centers_is_denied() {
        for path in [Some("/"), Some("/team/"), Some("/aws-reserved/"), Some("/x/aws-reserved/sso.amazonaws.com/")] {
            assert_eq!(verdict(SSO, path, "o-exampleorg1"), Verdict::ExplicitDeny, "{path:?}");
        }
        let regional = Some("/aws-reserved/sso.amazonaws.com/eu-west-1/");
        assert_eq!(verdict(SSO, regional, "o-exampleorg1"), Verdict::Allow);
        let infix = "arn:aws:sts::111122223333:assumed-role/xAWSReservedSSO_Analyst_0123456789abcdef/ceo@example.com";
        assert_eq!(verdict(infix, None, "o-exampleorg1"), Verdict::ExplicitDeny);
        assert_eq!(
            verdict(&SSO.replace("arn:aws:", "arn:aws-us-gov:"), Some("/"), "o-exampleorg1"),
            Verdict::ExplicitDeny
        );
    }

    /// The policy sees roles, not session names: those are for the mapping to judge.
    #[test]
    fn a_session_name_does_not_meet_the_deny() {
        let session = "arn:aws:sts::111122223333:assumed-role/app/ceo@AWSReservedSSO_";
        assert_eq!(verdict(session, None, "o-exampleorg1"), Verdict::Allow);
        for no_role in ["arn:aws:iam::111122223333:user/AWSReservedSSO_x", "", "nonsense"] {
            assert_eq!(verdict(no_role, None, "o-exampleorg1"), Verdict::Allow, "{no_role}");
        }
    }
}
