# The whole environment: that each function reaches what is its own and nothing else, and what may not be configured.
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

# Told apart, because the policies below are about which function has which.
override_resource {
  target = module.keys.aws_ssm_parameter.jwks
  values = { arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/jwt-issuer-test/jwks" }
}

override_resource {
  target = module.keys.aws_ssm_parameter.mapping
  values = { arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/jwt-issuer-test/mapping" }
}

override_resource {
  target = module.issuer_lambda.aws_iam_role.this
  values = { arn = "arn:aws:iam::111122223333:role/jwt-issuer-test-issuer" }
}

override_resource {
  target = module.jwks_lambda.aws_iam_role.this
  values = { arn = "arn:aws:iam::111122223333:role/jwt-issuer-test-jwks" }
}

override_resource {
  target = module.issuer_lambda.aws_lambda_function.this
  values = { arn = "arn:aws:lambda:eu-west-1:111122223333:function:jwt-issuer-test-issuer" }
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
}

run "an_environment_from_zips" {
  variables {
    alarm_topic_arns = ["arn:aws:sns:eu-west-1:111122223333:on-call"]
  }

  assert {
    condition = { for s in jsondecode(output.functions.issuer.policy_json).Statement : s.Sid => [s.Action, s.Resource, try(s.Condition, null)] } == {
      DecryptRing          = [["kms:Decrypt"], ["arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000"], { StringEquals = { "kms:EncryptionContext:SecretARN" = [output.secret_arn] } }]
      ReadCurrentRing      = [["secretsmanager:GetSecretValue"], [output.secret_arn], { StringEquals = { "secretsmanager:VersionStage" = ["AWSCURRENT"] } }]
      ReadKeySetAndMapping = [["ssm:GetParameter"], ["arn:aws:ssm:eu-west-1:111122223333:parameter/jwt-issuer-test/jwks", "arn:aws:ssm:eu-west-1:111122223333:parameter/jwt-issuer-test/mapping"], null]
      WriteOwnLog          = [["logs:CreateLogStream", "logs:PutLogEvents"], ["arn:aws:logs:eu-west-1:111122223333:log-group:/mock:log-stream:*"], null]
      WriteTraces          = [["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"], null]
    }
    error_message = "the issuer reads its ring at AWSCURRENT, its key set and its mapping, and writes none of them"
  }

  assert {
    condition = { for s in jsondecode(output.functions.jwks.policy_json).Statement : s.Sid => [s.Action, s.Resource] } == {
      ReadKeySet  = [["ssm:GetParameter"], ["arn:aws:ssm:eu-west-1:111122223333:parameter/jwt-issuer-test/jwks"]]
      WriteOwnLog = [["logs:CreateLogStream", "logs:PutLogEvents"], ["arn:aws:logs:eu-west-1:111122223333:log-group:/mock:log-stream:*"]]
      WriteTraces = [["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]]
    }
    error_message = "the anonymous door reads one parameter"
  }

  # Over all functions: X-Ray's two actions are the only ones on "*", log streams the only other wildcard.
  assert {
    condition = alltrue(flatten([
      for function in values(output.functions) : [
        for s in jsondecode(function.policy_json).Statement : concat(
          [for action in s.Action : !strcontains(action, "*")],
          [for resource in s.Resource : !strcontains(resource, "*") || s.Sid == "WriteTraces" || (s.Sid == "WriteOwnLog" && endswith(resource, ":log-stream:*"))],
        )
      ]
    ]))
    error_message = "no wildcard action, no wildcard resource"
  }

  # Neither door that API Gateway opens may write a key, a key set or a mapping.
  assert {
    condition = alltrue(flatten([
      for key in ["issuer", "jwks"] : [
        for s in jsondecode(output.functions[key].policy_json).Statement : [for action in s.Action : !can(regex(":(Put|Update|Delete|Create|Invoke|Add)", action)) || startswith(action, "logs:") || startswith(action, "xray:")]
      ]
    ]))
    error_message = "issuer and jwks write nothing but logs and traces"
  }

  assert {
    condition = output.functions.issuer.environment == tomap({
      API_ID                 = "abcdef1234"
      JWKS_SSM_PARAM         = "/jwt-issuer-test/jwks"
      JWT_ISSUER_URL         = "https://abcdef1234.execute-api.eu-west-1.amazonaws.com/v1"
      LOG_LEVEL              = "info"
      MAPPING                = "ssm:/jwt-issuer-test/mapping"
      ORGANIZATION_ID        = "o-exampleorg1"
      SIGNING_KEY_SECRET_ARN = output.secret_arn
      SSO_PATH_ENFORCED      = "true"
      STAGE                  = "v1"
    })
    error_message = "the issuer has the settings it reads, and no other"
  }

  assert {
    condition = output.functions.jwks.environment == tomap({
      JWKS_MAX_AGE_SECONDS   = "300"
      JWKS_SSM_PARAM         = "/jwt-issuer-test/jwks"
      JWT_ISSUER_URL         = "https://abcdef1234.execute-api.eu-west-1.amazonaws.com/v1"
      LOG_LEVEL              = "info"
      STALE_IF_ERROR_SECONDS = "3600"
    })
    error_message = "the key set's function has the settings it reads, and no other"
  }

  assert {
    condition = output.functions.rotation.environment == tomap({
      ALGORITHMS                = "RS256"
      JWKS_MAX_AGE_SECONDS      = "300"
      JWKS_SSM_PARAM            = "/jwt-issuer-test/jwks"
      KEY_STORE                 = "ring"
      LOG_LEVEL                 = "info"
      MAX_TOKEN_TTL_SECONDS     = "3600"
      RETENTION_SECONDS         = "172800"
      ROTATION_INTERVAL_SECONDS = "2592000"
      ROTATION_LEAD_SECONDS     = "86400"
      SIGNING_KEY_SECRET_ARN    = output.secret_arn
      SKEW_SECONDS              = "60"
      VERIFIER_CACHE_SECONDS    = "3600"
    }) && output.functions.withdraw.environment == output.functions.rotation.environment
    error_message = "rotation and withdrawal have the settings they read, and no other"
  }

  assert {
    condition     = output.token_url == "${output.issuer_url}/token" && output.jwks_uri == "${output.issuer_url}/.well-known/jwks.json"
    error_message = "callers and verifiers find the routes below the issuer"
  }

  assert {
    condition     = jsondecode(output.caller_policy).Statement[0].Resource == "arn:aws:execute-api:eu-west-1:111122223333:abcdef1234/v1/POST/token"
    error_message = "a caller needs one route"
  }

  assert {
    condition     = length(output.sample_scp) <= 5120 && alltrue([for s in jsondecode(output.sample_scp).Statement : s.Effect == "Deny" && length(s.Resource) > 0 && can(s.Condition.ArnNotEquals)])
    error_message = "the sample policy fits into an SCP, and every statement excepts somebody"
  }

  assert {
    condition     = output.snowflake_sql == null
    error_message = "no SQL unasked"
  }

  assert {
    condition = toset([for name in output.alarm_names : trimprefix(name, "jwt-issuer-test-")]) == toset([
      "api-5xx", "foreign-keys", "issuer-errors", "issuer-failures", "issuer-throttles", "jwks-errors", "jwks-throttles", "key-days-left", "key-set-last-good", "key-set-poisoned",
      "key-set-unavailable", "mapping-age", "mapping-last-good", "refusals", "ring-age", "ring-last-good", "rotation-errors", "rotation-throttles", "withdraw-errors", "withdraw-invoked", "withdraw-throttles",
    ])
    error_message = "errors, refusals, ages, days left, foreign keys and withdrawals are alarmed"
  }
}

# A second one in the same account: from images, with Snowflake, and with the smallest numbers that hold,
# so that the refusals below are tight.
run "another_from_images" {
  variables {
    name               = "jwt-issuer-two"
    create_ecr         = true
    zips               = {}
    issuer_image_tag   = "1.0.0"
    jwks_image_tag     = "1.0.0"
    rotation_image_tag = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    withdraw_image_tag = "1.0.0"
    key_policy         = { algorithms = ["ES256"], lead_seconds = 7620, retention_seconds = 7950 }
    snowflake          = { audience_list = ["https://acme.snowflakecomputing.com"] }
  }

  assert {
    condition     = alltrue([for function in values(output.functions) : startswith(function.function_name, "jwt-issuer-two-") && startswith(function.role_name, "jwt-issuer-two-") && startswith(function.log_group_name, "/aws/lambda/jwt-issuer-two-")])
    error_message = "functions, roles and log groups begin with the environment's name"
  }

  assert {
    condition     = output.jwks_ssm_param_name == "/jwt-issuer-two/jwks" && output.mapping_ssm_param_name == "/jwt-issuer-two/mapping" && alltrue([for alarm in output.alarm_names : startswith(alarm, "jwt-issuer-two-")])
    error_message = "parameters and alarms begin with the environment's name"
  }

  assert {
    condition     = length(output.functions) == 4 && length(output.ecr_repository_urls) == 4
    error_message = "four functions from images of four repositories"
  }

  assert {
    condition     = strcontains(output.snowflake_sql, "EXTERNAL_OAUTH_ISSUER = 'https://abcdef1234.execute-api.eu-west-1.amazonaws.com/v1'\n") && strcontains(output.snowflake_sql, "EXTERNAL_OAUTH_JWS_KEYS_URL = 'https://abcdef1234.execute-api.eu-west-1.amazonaws.com/v1/.well-known/jwks.json'\n")
    error_message = "issuer and key set are the API's"
  }

  assert {
    condition     = strcontains(output.snowflake_sql, "EXTERNAL_OAUTH_AUDIENCE_LIST = ('https://acme.snowflakecomputing.com')\n") && strcontains(output.snowflake_sql, "EXTERNAL_OAUTH_ANY_ROLE_MODE = 'DISABLE';")
    error_message = "audiences are listed, and no role but the token's is admitted"
  }
}

run "package_missing" {
  command = plan

  variables {
    zips = { issuer = { s3_bucket = "releases", s3_key = "issuer.zip" } }
  }

  expect_failures = [terraform_data.configuration]
}

run "domain_without_zone_or_certificate" {
  command = plan

  variables {
    domain = "tokens.example.com"
  }

  expect_failures = [terraform_data.configuration]
}

# One refusal per validation. Those of different variables share a run, because every run costs a plan.
run "refusals_1" {
  command = plan

  variables {
    alarm_topic_arns   = ["on-call"]
    certificate_arn    = "tokens.example.com"
    issuer_image_tag   = "latest"
    jwks_image_tag     = "latest"
    key_policy         = { algorithms = ["HS256"] }
    key_store          = "vault"
    kms_signatures     = { per_second = 1.5, account_quota = 0 }
    log_level          = "verbose"
    name               = "JWT"
    organization_id    = "example"
    region             = "Ireland"
    role_arn           = "deploy"
    rotation_image_tag = "latest"
    snowflake          = { any_role_mode = "ALL" }
    withdraw_image_tag = "latest"
    zips               = { issuer = { s3_bucket = "r", s3_key = "k" }, jwks = { s3_bucket = "r", s3_key = "k" }, rotation = { s3_bucket = "r", s3_key = "k" }, withdraw = { s3_bucket = "r", s3_key = "k" }, other = {} }
  }

  expect_failures = [var.alarm_topic_arns, var.certificate_arn, var.issuer_image_tag, var.jwks_image_tag, var.key_policy, var.key_store, var.kms_signatures, var.log_level, var.name, var.organization_id, var.region, var.role_arn, var.rotation_image_tag, var.snowflake, var.withdraw_image_tag, var.zips]
}

run "refusals_2" {
  command = plan

  variables {
    key_policy = { interval_seconds = 86400 }
    name       = "aws-issuer"
    snowflake  = { integration_name = "X; DROP" }
  }

  expect_failures = [var.key_policy, var.name, var.snowflake]
}

run "refusals_3" {
  command = plan

  variables {
    key_policy = { lead_seconds = 7619 }
    snowflake  = { audience_list = ["https://a'); DROP"] }
  }

  expect_failures = [var.key_policy, var.snowflake]
}

run "refusals_4" {
  command = plan

  variables {
    key_policy = { retention_seconds = 47279 }
    snowflake  = { scope_mapping_attribute = "roles" }
  }

  expect_failures = [var.key_policy, var.snowflake]
}

run "refusals_5" {
  command = plan

  variables {
    key_policy = { jwks_max_age_seconds = 86400, lead_seconds = 172800, retention_seconds = 604800 }
  }

  expect_failures = [var.key_policy]
}
