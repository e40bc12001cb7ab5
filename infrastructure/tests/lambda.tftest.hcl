# A function by itself: its rights, who may invoke it, what it may not be given.
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
  name                      = "jwt-issuer-test-issuer"
  image_uri                 = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/issuer@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  api_gateway_execution_arn = "arn:aws:execute-api:eu-west-1:111122223333:abcdef1234"
  api_gateway_routes        = ["v1/POST/token"]

  lambda_environment_variables = { LOG_LEVEL = "info" }

  policy_statements = {
    ReadCurrentRing = {
      actions    = ["secretsmanager:GetSecretValue"]
      resources  = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:ring-AbCdEf"]
      conditions = { StringEquals = { "secretsmanager:VersionStage" = ["AWSCURRENT"] } }
    }
  }
}

run "image" {
  module {
    source = "./modules/lambda"
  }

  assert {
    condition = jsondecode(output.policy_json).Statement == [
      {
        Sid       = "ReadCurrentRing"
        Effect    = "Allow"
        Action    = ["secretsmanager:GetSecretValue"]
        Resource  = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:ring-AbCdEf"]
        Condition = { StringEquals = { "secretsmanager:VersionStage" = ["AWSCURRENT"] } }
      },
      {
        Sid      = "WriteOwnLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["arn:aws:logs:eu-west-1:111122223333:log-group:/mock:log-stream:*"]
      },
      {
        Sid      = "WriteTraces"
        Effect   = "Allow"
        Action   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        Resource = ["*"]
      },
    ]
    error_message = "the role has what it was given, its log and its traces, and nothing else"
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role.this.assume_role_policy).Statement : [s.Effect, s.Action, s.Principal]] == [
      ["Allow", "sts:AssumeRole", { Service = "lambda.amazonaws.com" }],
    ]
    error_message = "only Lambda takes the role"
  }

  assert {
    condition = [for p in aws_lambda_permission.api_gateway : [p.action, p.principal, p.source_arn, p.qualifier]] == [
      ["lambda:InvokeFunction", "apigateway.amazonaws.com", "arn:aws:execute-api:eu-west-1:111122223333:abcdef1234/v1/POST/token", "live"],
    ]
    error_message = "only the exact API, stage, method and path invokes the alias"
  }

  assert {
    condition = (
      aws_lambda_function.this.package_type == "Image" && aws_lambda_function.this.architectures == tolist(["arm64"]) && aws_lambda_function.this.timeout == 10 &&
      aws_lambda_function.this.memory_size == 512 && aws_lambda_function.this.publish && aws_lambda_function.this.tracing_config[0].mode == "Active"
    )
    error_message = "arm64, 10 s, 512 MB, versions published, traced"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/lambda/jwt-issuer-test-issuer" && aws_cloudwatch_log_group.this.retention_in_days == 365
    error_message = "the log group is the function's own and expires"
  }
}

run "zip" {
  module {
    source = "./modules/lambda"
  }

  variables {
    image_uri = null
    zip       = { s3_bucket = "releases", s3_key = "issuer.zip", sha256_base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
  }

  assert {
    condition = (
      aws_lambda_function.this.package_type == "Zip" && aws_lambda_function.this.runtime == "provided.al2023" && aws_lambda_function.this.handler == "bootstrap" &&
      aws_lambda_function.this.source_code_hash == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    )
    error_message = "a zip runs on provided.al2023, and its digest says when it changed"
  }
}

run "image_and_zip" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    zip = { s3_bucket = "releases", s3_key = "issuer.zip" }
  }

  expect_failures = [aws_lambda_function.this]
}

run "neither_image_nor_zip" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    image_uri = null
  }

  expect_failures = [aws_lambda_function.this]
}

# One refusal per validation. Those of different variables share a run, because every run costs a plan.
run "refusals_1" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    image_uri                    = null
    zip                          = { path = "main.tf", s3_bucket = "releases", s3_key = "issuer.zip" }
    api_gateway_routes           = ["*/POST/token"]
    policy_statements            = { Read = { actions = ["ssm:Get*"], resources = ["arn:aws:ssm:eu-west-1:111122223333:parameter/a"] } }
    lambda_environment_variables = { KEY = "-----BEGIN PRIVATE KEY-----" }
    architecture                 = "riscv64"
    log_retention_days           = 0
    memory_mb                    = 64
    name                         = "a-name-that-is-longer-than-the-64-characters-that-a-role-may-have-in-iam"
    reserved_concurrency         = -2
    timeout_seconds              = 0
  }

  expect_failures = [var.api_gateway_routes, var.architecture, var.lambda_environment_variables, var.log_retention_days, var.memory_mb, var.name, var.policy_statements, var.reserved_concurrency, var.timeout_seconds, var.zip]
}

run "wildcard_resource" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Read = { actions = ["ssm:GetParameter"], resources = ["arn:aws:ssm:eu-west-1:111122223333:parameter/*"] } }
  }

  expect_failures = [var.policy_statements]
}

run "every_resource" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Read = { actions = ["ssm:GetParameter"], resources = ["*"] } }
  }

  expect_failures = [var.policy_statements]
}

run "statement_without_resource" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Read = { actions = ["ssm:GetParameter"], resources = [] } }
  }

  expect_failures = [var.policy_statements]
}

run "sid_with_a_hyphen" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { read-it = { actions = ["ssm:GetParameter"], resources = ["arn:aws:ssm:eu-west-1:111122223333:parameter/a"] } }
  }

  expect_failures = [var.policy_statements]
}
