locals {
  _deployer = coalesce(var.role_arn, "arn:aws:iam::ACCOUNT:role/THE-ROLE-THAT-DEPLOYS")

  # KMS gives a key that the functions make its default policy, which leaves everything to IAM: whoever may kms:* in the
  # account could sign. Who tags keys could have the functions sign with a key of somebody else, or lose theirs.
  _signing_key_scp = [
    for statement in [
      {
        Sid      = "OnlyTheFunctionsSign"
        Effect   = "Deny"
        Action   = ["kms:Sign", "kms:TagResource"]
        Resource = [try(module.keys.signing_key_tag.resource, "")]
        Condition = {
          ArnNotEquals = { "aws:PrincipalArn" = [module.issuer_lambda.role_arn, module.rotation.rotation.role_arn, module.rotation.withdraw.role_arn] }
          StringEquals = { "aws:ResourceTag/${try(module.keys.signing_key_tag.key, "")}" = try(module.keys.signing_key_tag.value, "") }
        }
      },
      {
        Sid      = "OnlyDeploymentsOpenSigningKeys"
        Effect   = "Deny"
        Action   = ["kms:CreateGrant", "kms:PutKeyPolicy", "kms:UntagResource"]
        Resource = [try(module.keys.signing_key_tag.resource, "")]
        Condition = {
          ArnNotEquals = { "aws:PrincipalArn" = [local._deployer] }
          StringEquals = { "aws:ResourceTag/${try(module.keys.signing_key_tag.key, "")}" = try(module.keys.signing_key_tag.value, "") }
        }
      },
      {
        Sid      = "OnlyTheFunctionsTagSigningKeys"
        Effect   = "Deny"
        Action   = ["kms:CreateKey", "kms:TagResource"]
        Resource = ["*"]
        Condition = {
          ArnNotEquals = { "aws:PrincipalArn" = [module.rotation.rotation.role_arn, module.rotation.withdraw.role_arn] }
          StringEquals = { "aws:RequestTag/${try(module.keys.signing_key_tag.key, "")}" = try(module.keys.signing_key_tag.value, "") }
        }
      },
    ] : statement if module.keys.signing_key_tag != null
  ]
}

output "alarm_names" {
  description = "Every alarm."
  value       = module.alarms.alarm_names
}

output "api_id" {
  description = "Identifier of the REST API."
  value       = module.apigw.api_id
}

output "apigw_domain_name" {
  description = "Where DNS must point for the domain; null without one."
  value       = module.apigw.domain_name
}

output "apigw_execution_arn" {
  description = "arn:…:execute-api:REGION:ACCOUNT:API."
  value       = module.apigw.api_gateway_execution_arn
}

output "caller_policy" {
  description = "Identity policy that a caller needs to ask for tokens, in whichever account of the organization."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "AskForTokens"
      Effect   = "Allow"
      Action   = "execute-api:Invoke"
      Resource = "${module.apigw.api_gateway_execution_arn}/${module.apigw.token_route}"
    }]
  })
}

output "ecr_repository_urls" {
  description = "Where images are pushed: function => URL."
  value       = local._repository_urls
}

output "functions" {
  description = "The functions: issuer, jwks, rotation, withdraw => function_name, function_arn, alias_arn, role_arn, log_group_name, environment and policy_json."
  value = {
    issuer   = module.issuer_lambda
    jwks     = module.jwks_lambda
    rotation = module.rotation.rotation
    withdraw = module.rotation.withdraw
  }
}

output "issuer_url" {
  description = "The iss claim of every token."
  value       = module.apigw.issuer_url
}

output "jwks_ssm_param_name" {
  description = "The parameter with the published key set."
  value       = module.keys.jwks_ssm_param_name
}

output "jwks_uri" {
  description = "Where verifiers fetch the keys."
  value       = "${module.apigw.issuer_url}/.well-known/jwks.json"
}

output "kms_signing_key_tag" {
  description = "The tag of every KMS signing key of this ring (key, value; resource is the ARN pattern of keys); null without such keys."
  value       = module.keys.signing_key_tag
}

output "mapping_ssm_param_name" {
  description = "The parameter with the mapping document."
  value       = module.keys.mapping_ssm_param_name
}

output "resource_policy" {
  description = "The API's resource policy."
  value       = module.apigw.resource_policy
}

output "sample_scp" {
  description = "Service control policy to begin with: nobody in the account forges tokens, the account's administrators included, but for the role that deploys."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      {
        Sid    = "OnlyDeploymentsChangeFunctions"
        Effect = "Deny"
        Action = [
          "lambda:AddPermission",
          "lambda:CreateFunctionUrlConfig",
          "lambda:InvokeFunction",
          "lambda:PublishVersion",
          "lambda:UpdateAlias",
          "lambda:UpdateFunctionCode",
          "lambda:UpdateFunctionConfiguration",
        ]
        Resource  = flatten([for arn in [module.issuer_lambda.function_arn, module.jwks_lambda.function_arn, module.rotation.rotation.function_arn] : [arn, "${arn}:*"]])
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = [local._deployer, module.rotation.withdraw.role_arn] } }
      },
      {
        Sid       = "OnlyTheFunctionsTouchTheRing"
        Effect    = "Deny"
        Action    = ["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"]
        Resource  = [module.keys.secret_arn]
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = [module.issuer_lambda.role_arn, module.rotation.rotation.role_arn, module.rotation.withdraw.role_arn] } }
      },
      {
        Sid       = "OnlyTheFunctionsPublishKeys"
        Effect    = "Deny"
        Action    = ["ssm:DeleteParameter", "ssm:DeleteParameters", "ssm:PutParameter"]
        Resource  = [module.keys.jwks_ssm_param_arn]
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = [local._deployer, module.rotation.rotation.role_arn, module.rotation.withdraw.role_arn] } }
      },
      {
        Sid       = "OnlyDeploymentsChangeTheMapping"
        Effect    = "Deny"
        Action    = ["ssm:DeleteParameter", "ssm:DeleteParameters", "ssm:PutParameter"]
        Resource  = [module.keys.mapping_ssm_param_arn]
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = [local._deployer] } }
      },
      {
        Sid       = "OnlyDeploymentsChangeKeyPolicies"
        Effect    = "Deny"
        Action    = ["kms:CreateGrant", "kms:PutKeyPolicy"]
        Resource  = [module.keys.secret_key_arn]
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = [local._deployer] } }
      },
    ], local._signing_key_scp)
  })
}

output "secret_arn" {
  description = "The secret with the key ring."
  value       = module.keys.secret_arn
}

output "secret_key_policy" {
  description = "Policy of the KMS key that encrypts the key ring."
  value       = module.keys.secret_key_policy
}

output "snowflake_sql" {
  description = "SQL that makes Snowflake accept the tokens; null unless snowflake is set."
  value       = local.snowflake_sql
}

output "stage_name" {
  description = "Stage of the REST API."
  value       = var.stage_name
}

output "token_url" {
  description = "Where callers ask for tokens."
  value       = "${module.apigw.issuer_url}/token"
}

output "web_acl_arn" {
  description = "The web ACL; null without WAF."
  value       = one([for waf in module.waf : waf.web_acl_default_regional_arn])
}
