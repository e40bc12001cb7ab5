# Where keys live, and the two functions that write them: who reads, who writes, and that no key is in the plan.
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
  name              = "jwt-issuer-test"
  issuer_role_arn   = "arn:aws:iam::111122223333:role/issuer"
  rotation_role_arn = "arn:aws:iam::111122223333:role/rotation"
  withdraw_role_arn = "arn:aws:iam::111122223333:role/withdraw"

  mapping = <<-EOT
    [[rule]]
    name = "etl"
  EOT

  # The rotation module's own.
  image_uri            = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/rotation:1.0.0"
  withdraw_image_uri   = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/withdraw:1.0.0"
  issuer_alias_arn     = "arn:aws:lambda:eu-west-1:111122223333:function:issuer:live"
  issuer_alias_name    = "live"
  issuer_function_arn  = "arn:aws:lambda:eu-west-1:111122223333:function:issuer"
  issuer_function_name = "issuer"
  jwks_ssm_param_arn   = "arn:aws:ssm:eu-west-1:111122223333:parameter/jwt-issuer-test/jwks"
  secret_arn           = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ring-AbCdEf"
  secret_key_arn       = "arn:aws:kms:eu-west-1:111122223333:key/11111111-1111-1111-1111-111111111111"
}

run "secret_and_parameters" {
  module {
    source = "./modules/keys"
  }

  assert {
    condition     = aws_secretsmanager_secret.this.name == "jwt-issuer-test/signing-keys" && aws_secretsmanager_secret.this.kms_key_id == aws_kms_key.secret.arn && aws_secretsmanager_secret.this.recovery_window_in_days == 30
    error_message = "the secret is named after the environment, encrypted with its own key, and can be restored"
  }

  # Both functions answer 503 to an empty set and never serve it.
  assert {
    condition     = aws_ssm_parameter.jwks.name == "/jwt-issuer-test/jwks" && aws_ssm_parameter.jwks.insecure_value == "{\"keys\":[]}" && aws_ssm_parameter.jwks.tier == "Advanced"
    error_message = "the published set begins empty, with room for 8 KB"
  }

  assert {
    condition     = aws_ssm_parameter.mapping.insecure_value == var.mapping && aws_ssm_parameter.mapping.tier == "Advanced"
    error_message = "the mapping document is stored as it is"
  }

  assert {
    condition     = aws_kms_key.secret.enable_key_rotation && output.signing_key_tag == null && alltrue([for statements in values(output.signing_statements) : length(statements) == 0])
    error_message = "the secret's key rotates by itself; nobody may do anything with signing keys in KMS unasked"
  }
}

run "who_decrypts_the_ring" {
  module {
    source = "./modules/keys"
  }

  assert {
    condition     = [for s in jsondecode(output.secret_key_policy).Statement : [s.Sid, s.Effect]] == [["AccountAdministers", "Allow"], ["ReadersDecryptThroughTheSecret", "Allow"], ["WritersUseItThroughTheSecret", "Allow"]]
    error_message = "the key's policy has exactly these three statements"
  }

  # An administrator of the account manages the key, but cannot read the ring with it.
  assert {
    condition = alltrue([
      for action in jsondecode(output.secret_key_policy).Statement[0].Action :
      !strcontains(action, "*") && !contains(["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:Sign", "kms:CreateGrant"], action)
    ])
    error_message = "administration does not use the key, and has no wildcard"
  }

  assert {
    condition     = [for s in jsondecode(output.secret_key_policy).Statement : [s.Principal.AWS, s.Action] if s.Sid != "AccountAdministers"] == [[["arn:aws:iam::111122223333:role/issuer"], ["kms:Decrypt"]], [["arn:aws:iam::111122223333:role/rotation", "arn:aws:iam::111122223333:role/withdraw"], ["kms:Decrypt", "kms:GenerateDataKey"]]]
    error_message = "the issuer decrypts; rotation and withdrawal also encrypt; nobody else does either"
  }

  assert {
    condition = alltrue([
      for s in jsondecode(output.secret_key_policy).Statement : s.Condition == {
        StringEquals = {
          "kms:EncryptionContext:SecretARN" = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"
          "kms:ViaService"                  = "secretsmanager.eu-west-1.amazonaws.com"
        }
      } if s.Sid != "AccountAdministers"
    ])
    error_message = "the key serves this secret only, and only through Secrets Manager"
  }
}

run "who_writes_keys" {
  module {
    source = "./modules/rotation"
  }

  assert {
    condition = { for s in jsondecode(output.rotation.policy_json).Statement : s.Sid => [s.Action, s.Resource] } == {
      DecryptRing      = [["kms:Decrypt", "kms:GenerateDataKey"], [var.secret_key_arn]]
      PublishKeySet    = [["ssm:GetParameter", "ssm:PutParameter"], [var.jwks_ssm_param_arn]]
      ReadAndWriteRing = [["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"], [var.secret_arn]]
      WriteOwnLog      = [["logs:CreateLogStream", "logs:PutLogEvents"], ["arn:aws:logs:eu-west-1:111122223333:log-group:/mock:log-stream:*"]]
      WriteTraces      = [["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]]
    }
    error_message = "the rotation has its secret, its parameter and its key, and nothing else"
  }

  assert {
    condition     = output.withdraw.policy_json == output.rotation.policy_json && output.withdraw.environment == output.rotation.environment
    error_message = "the withdrawal has the same, and no right to change the issuer"
  }

  assert {
    condition = (
      aws_lambda_permission.secrets_manager.principal == "secretsmanager.amazonaws.com" && aws_lambda_permission.secrets_manager.source_arn == var.secret_arn &&
      aws_lambda_permission.secrets_manager.source_account == "111122223333" && aws_lambda_permission.secrets_manager.function_name == "jwt-issuer-test-rotation"
    )
    error_message = "only Secrets Manager, for this secret of this account, invokes the rotation"
  }

  assert {
    condition     = aws_secretsmanager_secret_rotation.this["this"].rotate_immediately && aws_secretsmanager_secret_rotation.this["this"].rotation_rules[0].automatically_after_days == 30
    error_message = "the first ring is made at once, the next after the interval"
  }
}

run "who_recycles" {
  module {
    source = "./modules/rotation"
  }

  variables {
    recycle_issuers = true
  }

  assert {
    condition     = [for s in jsondecode(output.withdraw.policy_json).Statement : [s.Action, s.Resource] if s.Sid == "RecycleWarmIssuers"] == [[["lambda:GetFunctionConfiguration", "lambda:PublishVersion", "lambda:UpdateAlias", "lambda:UpdateFunctionConfiguration"], [var.issuer_function_arn, var.issuer_alias_arn]]]
    error_message = "asked for, the withdrawal replaces this issuer's versions"
  }

  assert {
    condition     = output.withdraw.environment == tomap({ ISSUER_FUNCTION_ALIAS = "live", ISSUER_FUNCTION_NAME = "issuer" }) && length(output.rotation.environment) == 0
    error_message = "the withdrawal knows which issuer, the rotation does not"
  }
}

run "no_schedule_on_an_emulator" {
  module {
    source = "./modules/rotation"
  }

  variables {
    rotation_enabled = false
  }

  assert {
    condition     = length(aws_secretsmanager_secret_rotation.this) == 0
    error_message = "no schedule"
  }
}

run "mapping_of_8192_bytes" {
  command = plan

  module {
    source = "./modules/keys"
  }

  variables {
    # 9 + 1 bytes, then 4091 characters of two bytes each.
    mapping = "[[rule]]\n#${replace(format("%04091d", 0), "0", "é")}"
  }

  assert {
    condition     = length(aws_ssm_parameter.mapping.insecure_value) == 4101
    error_message = "the document was changed"
  }
}

# One refusal per validation. Those of different variables share a run, because every run costs a plan.
run "refusals_1" {
  command = plan

  module {
    source = "./modules/keys"
  }

  variables {
    mapping                        = "[[rule]]\n#x${replace(format("%04091d", 0), "0", "é")}"
    name                           = "aws-issuer"
    secret_recovery_window_in_days = 1
    kms_deletion_window_in_days    = 1
    key_store                      = "KMS"
  }

  expect_failures = [var.key_store, var.kms_deletion_window_in_days, var.mapping, var.name, var.secret_recovery_window_in_days]
}

run "refusals_2" {
  command = plan

  module {
    source = "./modules/keys"
  }

  variables {
    mapping = "docs/config/mapping.toml"
  }

  expect_failures = [var.mapping]
}

run "rotation_by_the_hour" {
  command = plan

  module {
    source = "./modules/rotation"
  }

  variables {
    automatically_after_days = 0.5
  }

  expect_failures = [var.automatically_after_days]
}
