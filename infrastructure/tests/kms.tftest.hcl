# Keys in KMS: who may make, use and disable which, that nobody may do more, and what such an environment is not allowed.
# Shapes that policies are made of. Values of a mock are never asserted by themselves.
mock_provider "aws" {
  mock_resource "aws_api_gateway_rest_api" {
    defaults = {
      id            = "abcdef1234"
      execution_arn = "arn:aws:execute-api:eu-west-1:111122223333:abcdef1234"
    }
  }

  mock_resource "aws_api_gateway_stage" {
    defaults = { arn = "arn:aws:apigateway:eu-west-1::/restapis/abcdef1234/stages/v1" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:111122223333:log-group:/mock" }
  }

  mock_resource "aws_ecr_repository" {
    defaults = {
      arn            = "arn:aws:ecr:eu-west-1:111122223333:repository/mock"
      repository_url = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/mock"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/mock" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }

  mock_resource "aws_lambda_alias" {
    defaults = {
      arn        = "arn:aws:lambda:eu-west-1:111122223333:function:mock:live"
      invoke_arn = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:mock:live/invocations"
    }
  }

  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:111122223333:function:mock" }
  }

  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf" }
  }

  mock_resource "aws_ssm_parameter" {
    defaults = { arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/mock" }
  }

  mock_resource "aws_wafv2_web_acl" {
    defaults = { arn = "arn:aws:wafv2:eu-west-1:111122223333:regional/webacl/mock/00000000-0000-0000-0000-000000000000" }
  }
}

variables {
  name            = "jwt-issuer-test"
  region          = "eu-west-1"
  organization_id = "o-exampleorg1"

  mapping = <<-EOT
    [[rule]]
    name = "etl"
  EOT

  zips = {
    issuer   = { s3_bucket = "releases", s3_key = "issuer.zip" }
    jwks     = { s3_bucket = "releases", s3_key = "jwks.zip" }
    rotation = { s3_bucket = "releases", s3_key = "rotation.zip" }
    withdraw = { s3_bucket = "releases", s3_key = "withdraw.zip" }
  }

  # The largest that the quota holds: 20 x (12 + 2) is below 281.
  key_store            = "kms"
  kms_signatures       = { account_quota = 281 }
  reserved_concurrency = { issuer = 12 }
}

run "keys_in_kms" {
  variables {
    alarm_topic_arns = ["arn:aws:sns:eu-west-1:111122223333:on-call"]
  }

  assert {
    condition = output.kms_signing_key_tag == {
      key      = "jwt-issuer:ring"
      resource = "arn:aws:kms:eu-west-1:111122223333:key/*"
      value    = output.secret_arn
    }
    error_message = "keys are told by the ARN of their ring's secret, which no other environment has"
  }

  # What each function may do with KMS beyond decrypting the ring, word for word.
  assert {
    condition = { for name, function in output.functions : name => { for s in jsondecode(function.policy_json).Statement : s.Sid => s if length([for action in s.Action : action if startswith(action, "kms:")]) > 0 && s.Sid != "DecryptRing" } } == {
      issuer = {
        ReadOwnPublicKeys = {
          Sid       = "ReadOwnPublicKeys"
          Effect    = "Allow"
          Action    = ["kms:GetPublicKey"]
          Resource  = ["arn:aws:kms:eu-west-1:111122223333:key/*"]
          Condition = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } }
        }
        SignWithOwnKeys = {
          Sid       = "SignWithOwnKeys"
          Effect    = "Allow"
          Action    = ["kms:Sign"]
          Resource  = ["arn:aws:kms:eu-west-1:111122223333:key/*"]
          Condition = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } }
        }
      }
      jwks = {}
      rotation = {
        MakeSigningKeys = {
          Sid      = "MakeSigningKeys"
          Effect   = "Allow"
          Action   = ["kms:CreateKey"]
          Resource = ["*"]
          Condition = {
            "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }
            StringEquals                = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_NIST_P256", "ECC_NIST_P384", "RSA_2048"], "kms:KeyUsage" = ["SIGN_VERIFY"] }
          }
        }
        ReadOwnPublicKeys = {
          Sid       = "ReadOwnPublicKeys"
          Effect    = "Allow"
          Action    = ["kms:GetPublicKey"]
          Resource  = ["arn:aws:kms:eu-west-1:111122223333:key/*"]
          Condition = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } }
        }
        SignWithOwnKeys = {
          Sid       = "SignWithOwnKeys"
          Effect    = "Allow"
          Action    = ["kms:Sign"]
          Resource  = ["arn:aws:kms:eu-west-1:111122223333:key/*"]
          Condition = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } }
        }
        TagSigningKeys = {
          Sid      = "TagSigningKeys"
          Effect   = "Allow"
          Action   = ["kms:TagResource"]
          Resource = ["arn:aws:kms:eu-west-1:111122223333:key/*"]
          Condition = {
            "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }
            StringEquals                = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] }
            StringEqualsIfExists        = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] }
          }
        }
      }
      withdraw = merge({ for s in jsondecode(output.functions.rotation.policy_json).Statement : s.Sid => s if contains(["MakeSigningKeys", "ReadOwnPublicKeys", "TagSigningKeys"], s.Sid) }, {
        DisableOwnKeys = {
          Sid       = "DisableOwnKeys"
          Effect    = "Allow"
          Action    = ["kms:DisableKey"]
          Resource  = ["arn:aws:kms:eu-west-1:111122223333:key/*"]
          Condition = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } }
        }
      })
    }
    error_message = "the issuer signs with the ring's keys, the rotation also makes them, the withdrawal makes and disables them and never signs, and jwks knows no key"
  }

  # Whoever takes over a function gets no key's policy and deletes none.
  assert {
    condition = length(setsubtract(
      flatten([for function in values(output.functions) : [for s in jsondecode(function.policy_json).Statement : [for action in s.Action : action if startswith(action, "kms:")]]]),
      ["kms:CreateKey", "kms:Decrypt", "kms:DisableKey", "kms:GenerateDataKey", "kms:GetPublicKey", "kms:Sign", "kms:TagResource"],
    )) == 0
    error_message = "no function may do anything else with KMS"
  }

  # X-Ray's and CreateKey's are the only "*"; keys and log streams the only other wildcards.
  assert {
    condition = alltrue(flatten([
      for function in values(output.functions) : [
        for s in jsondecode(function.policy_json).Statement : concat(
          [for action in s.Action : !strcontains(action, "*")],
          [
            for resource in s.Resource :
            !strcontains(resource, "*") || s.Sid == "WriteTraces" || (s.Sid == "WriteOwnLog" && endswith(resource, ":log-stream:*")) ||
            (resource == "*" && s.Action == ["kms:CreateKey"]) || (resource == "arn:aws:kms:eu-west-1:111122223333:key/*" && can(s.Condition.StringEquals))
          ],
        )
      ]
    ]))
    error_message = "no other wildcard"
  }

  assert {
    condition = (
      output.functions.issuer.environment["KMS_SIGNS_PER_SECOND"] == "20" && !contains(keys(output.functions.issuer.environment), "KEY_STORE") &&
      output.functions.rotation.environment["KEY_STORE"] == "kms" && output.functions.rotation.environment["KMS_SIGNS_PER_SECOND"] == "20" &&
      output.functions.withdraw.environment == output.functions.rotation.environment &&
      length([for name in keys(output.functions.jwks.environment) : name if startswith(name, "KMS_") || name == "KEY_STORE"]) == 0
    )
    error_message = "who makes keys is told where, who signs how often, and jwks nothing"
  }

  assert {
    condition     = output.functions.issuer.policy_json != output.functions.rotation.policy_json && length([for s in jsondecode(output.secret_key_policy).Statement : s if contains(s.Action, "kms:Sign")]) == 0
    error_message = "the secret's own key signs nothing"
  }

  assert {
    condition = length(output.sample_scp) <= 5120 && { for s in jsondecode(output.sample_scp).Statement : s.Sid => [s.Action, s.Resource, s.Condition.StringEquals, length(s.Condition.ArnNotEquals["aws:PrincipalArn"])] if can(s.Condition.StringEquals) } == {
      OnlyDeploymentsOpenSigningKeys = [["kms:CreateGrant", "kms:PutKeyPolicy", "kms:UntagResource"], ["arn:aws:kms:eu-west-1:111122223333:key/*"], { "aws:ResourceTag/jwt-issuer:ring" = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf" }, 1]
      OnlyTheFunctionsSign           = [["kms:Sign", "kms:TagResource"], ["arn:aws:kms:eu-west-1:111122223333:key/*"], { "aws:ResourceTag/jwt-issuer:ring" = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf" }, 3]
      OnlyTheFunctionsTagSigningKeys = [["kms:CreateKey", "kms:TagResource"], ["*"], { "aws:RequestTag/jwt-issuer:ring" = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf" }, 2]
    }
    error_message = "the sample policy keeps everybody else from signing with, opening and tagging the ring's keys, and still fits"
  }
}

# Back: what is in KMS signs on and can be withdrawn, nothing new is made there. EdDSA is possible again.
run "on_the_way_back" {
  variables {
    key_store  = "kms-to-ring"
    key_policy = { algorithms = ["RS256", "EdDSA"] }
  }

  assert {
    condition = { for name, function in output.functions : name => [for s in jsondecode(function.policy_json).Statement : s.Sid if contains(["DisableOwnKeys", "MakeSigningKeys", "ReadOwnPublicKeys", "SignWithOwnKeys", "TagSigningKeys"], s.Sid)] } == {
      issuer = ["ReadOwnPublicKeys", "SignWithOwnKeys"], jwks = [], rotation = ["ReadOwnPublicKeys", "SignWithOwnKeys"], withdraw = ["DisableOwnKeys", "ReadOwnPublicKeys"]
    }
    error_message = "keys are used and disabled, none is made"
  }

  assert {
    condition     = output.functions.rotation.environment["KEY_STORE"] == "ring" && output.functions.issuer.environment["KMS_SIGNS_PER_SECOND"] == "20"
    error_message = "new keys are in the ring"
  }
}

run "no_keys_in_kms" {
  variables {
    key_store            = "ring"
    reserved_concurrency = {}
    kms_signatures       = { account_quota = 1 }
  }

  assert {
    condition     = output.kms_signing_key_tag == null && length([for s in jsondecode(output.sample_scp).Statement : s if can(s.Condition.StringEquals)]) == 0
    error_message = "nothing about such keys"
  }

  assert {
    condition = alltrue(flatten([
      for function in values(output.functions) : concat(
        [for s in jsondecode(function.policy_json).Statement : !can(regex("kms:(Sign|CreateKey|TagResource|DisableKey|GetPublicKey)", jsonencode(s)))],
        [!contains(keys(function.environment), "KMS_SIGNS_PER_SECOND")],
      )
    ]))
    error_message = "no function may do anything with such keys"
  }
}

run "eddsa_in_kms" {
  command = plan

  variables {
    key_policy = { algorithms = ["RS256", "EdDSA"] }
  }

  expect_failures = [terraform_data.configuration]
}

run "as_many_issuers_as_there_are_callers" {
  command = plan

  variables {
    reserved_concurrency = { issuer = -1 }
  }

  expect_failures = [terraform_data.configuration]
}

run "as_much_as_the_quota" {
  command = plan

  variables {
    kms_signatures = { account_quota = 280 }
  }

  expect_failures = [terraform_data.configuration]
}

run "one_issuer_too_many" {
  command = plan

  variables {
    reserved_concurrency = { issuer = 13 }
  }

  expect_failures = [terraform_data.configuration]
}

run "the_way_back_signs_too" {
  command = plan

  variables {
    key_store      = "kms-to-ring"
    kms_signatures = { account_quota = 280 }
  }

  expect_failures = [terraform_data.configuration]
}

run "a_zero_budget" {
  command = plan

  variables {
    kms_signatures = { per_second = 0 }
  }

  expect_failures = [var.kms_signatures]
}

run "alarms_without_knowing_the_keys" {
  module {
    source = "./modules/alarms"
  }

  variables {
    name                   = "t"
    alarm_topic_arns       = ["arn:aws:sns:eu-west-1:111122223333:on-call"]
    api_name               = "t"
    function_names         = { issuer = "t-issuer", jwks = "t-jwks", rotation = "t-rotation", withdraw = "t-withdraw" }
    issuer_role_arn        = "arn:aws:iam::111122223333:role/issuer"
    jwks_ssm_param_name    = "/t/jwks"
    key_writer_role_arns   = ["arn:aws:iam::111122223333:role/rotation", "arn:aws:iam::111122223333:role/withdraw"]
    kms_key_arns           = ["arn:aws:kms:eu-west-1:111122223333:key/11111111-1111-1111-1111-111111111111"]
    log_group_names        = { issuer = "/aws/lambda/t-issuer", jwks = "/aws/lambda/t-jwks", rotation = "/aws/lambda/t-rotation" }
    mapping_ssm_param_name = "/t/mapping"
    secret_arn             = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"
    signing_key_tag        = { key = "jwt-issuer:ring", value = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf" }
    stage_name             = "v1"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["signing-key-tagged"].event_pattern).detail == {
      eventSource = ["kms.amazonaws.com"]
      "$or" = [
        {
          eventName         = ["CreateKey"]
          requestParameters = { tags = { tagKey = ["jwt-issuer:ring"], tagValue = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } }
          userIdentity      = { sessionContext = { sessionIssuer = { arn = [{ "anything-but" = ["arn:aws:iam::111122223333:role/rotation", "arn:aws:iam::111122223333:role/withdraw"] }] } } }
        },
        {
          eventName         = ["CreateKey"]
          requestParameters = { tags = { tagKey = ["jwt-issuer:ring"], tagValue = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } }
          userIdentity      = { sessionContext = { sessionIssuer = { arn = [{ exists = false }] } } }
        },
        { eventName = ["TagResource"], requestParameters = { tags = { tagKey = ["jwt-issuer:ring"] } } },
        { eventName = ["UntagResource"], requestParameters = { tagKeys = ["jwt-issuer:ring"] } },
      ]
    }
    error_message = "who gives the tag to a key, or takes it away, is reported"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["signing-key-opened"].event_pattern).detail == {
      eventSource = ["kms.amazonaws.com"]
      "$or" = [
        { eventName = ["PutKeyPolicy"] },
        { eventName = ["CreateGrant"], requestParameters = { operations = ["Sign"] } },
      ]
    }
    error_message = "new key policies, and grants to sign, are reported"
  }

  assert {
    condition     = length(aws_cloudwatch_event_target.this) == 7 && alltrue([for rule in aws_cloudwatch_event_rule.this : rule.state == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"])
    error_message = "every event reaches the topic, and calls that only read are seen"
  }
}
