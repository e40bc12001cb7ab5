# Who may call what. A resource policy speaks for every method, the anonymous ones included: what no statement allows is
# refused. A Deny with a negated condition holds for callers that lack the key, so every Deny names the token path alone;
# over the whole API it would refuse the anonymous readers of the key set.
locals {
  _token_arn   = "${aws_api_gateway_rest_api.this.execution_arn}/${local.token_route}"
  _public_arns = [for route in sort(local.public_routes) : "${aws_api_gateway_rest_api.this.execution_arn}/${route}"]

  resource_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AnybodyReadsPublicKeys"
        Effect    = "Allow"
        Principal = "*"
        Action    = "execute-api:Invoke"
        Resource  = local._public_arns
      },
      {
        # In the API's own account this statement alone would admit every principal, without any policy of its own
        # (across accounts both sides must allow). Own principals are left to their identity policies instead.
        Sid       = "OrganizationAsksForTokens"
        Effect    = "Allow"
        Principal = "*"
        Action    = "execute-api:Invoke"
        Resource  = [local._token_arn]
        Condition = {
          StringEquals    = { "aws:PrincipalOrgID" = var.organization_id }
          StringNotEquals = { "aws:PrincipalAccount" = local._account_id }
        }
      },
      {
        # An identity policy in the API's own account would otherwise do, whatever organization that account is in.
        Sid       = "NobodyElseAsksForTokens"
        Effect    = "Deny"
        Principal = "*"
        Action    = "execute-api:Invoke"
        Resource  = [local._token_arn]
        Condition = {
          StringNotEquals = { "aws:PrincipalOrgID" = var.organization_id }
        }
      },
      {
        # The request context drops a role's path, so the function sees only a name that anybody can give a role. Here the
        # real path is known: Identity Center's roles live below aws-reserved, where only AWS makes roles.
        Sid       = "NobodyForgesSsoRoles"
        Effect    = "Deny"
        Principal = "*"
        Action    = "execute-api:Invoke"
        Resource  = [local._token_arn]
        Condition = {
          ArnLike    = { "aws:PrincipalArn" = "arn:*:iam::*:role/*AWSReservedSSO_*" }
          ArnNotLike = { "aws:PrincipalArn" = "arn:*:iam::*:role/aws-reserved/sso.amazonaws.com/*" }
        }
      },
    ]
  })
}

resource "aws_api_gateway_rest_api_policy" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  policy      = local.resource_policy

  lifecycle {
    # Without it the own account would not be excluded: every principal in it could ask for tokens.
    precondition {
      condition     = can(regex("^[0-9]{12}$", local._account_id))
      error_message = "api: expected the account's number in the API's execution ARN, found none; hint: take skip_requesting_account_id out of the provider's settings."
    }
  }
}
