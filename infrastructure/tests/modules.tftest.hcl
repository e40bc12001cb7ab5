# The smaller modules.
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
  name = "jwt-issuer-test"
}

run "waf" {
  module {
    source = "./modules/waf"
  }

  assert {
    condition     = length(aws_wafv2_web_acl.this.rule) == 4 && length([for rule in aws_wafv2_web_acl.this.rule : rule if rule.name == "rate" && rule.priority == 0 && try(length(rule.action[0].block), 0) == 1]) == 1
    error_message = "a rate rule that blocks comes before three managed rule sets"
  }

  assert {
    condition     = toset([for rule in aws_wafv2_web_acl.this.rule : rule.name if rule.name != "rate"]) == toset(["AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet"])
    error_message = "the managed rule sets are these"
  }

  # A managed rule set acts by itself: an override to count would make it a decoration.
  assert {
    condition     = alltrue([for rule in aws_wafv2_web_acl.this.rule : try(length(rule.override_action[0].none), 0) == 1 && try(length(rule.override_action[0].count), 1) == 0 if rule.name != "rate"])
    error_message = "no managed rule set is set to count"
  }

  assert {
    condition     = aws_cloudwatch_log_group.this["this"].name == "aws-waf-logs-jwt-issuer-test" && aws_cloudwatch_log_group.this["this"].retention_in_days == 365
    error_message = "the log group has the prefix that WAF writes to, and expires"
  }

  assert {
    condition     = toset(flatten([for field in aws_wafv2_web_acl_logging_configuration.this["this"].redacted_fields : [for header in field.single_header : header.name]])) == toset(["authorization", "dpop", "x-amz-security-token"])
    error_message = "credentials are redacted"
  }
}

run "waf_without_log" {
  module {
    source = "./modules/waf"
  }

  variables {
    cloudwatch_logging_enabled = false
    default_action             = "block"
  }

  assert {
    condition     = length(aws_wafv2_web_acl_logging_configuration.this) == 0 && length(aws_wafv2_web_acl.this.default_action[0].block) == 1
    error_message = "both settings count"
  }
}

run "ecr" {
  module {
    source = "./modules/ecr"
  }

  variables {
    function_name = "jwt-issuer-test-issuer"
  }

  assert {
    condition     = aws_ecr_repository.this.image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this.image_scanning_configuration[0].scan_on_push && aws_ecr_repository.this.force_delete == false
    error_message = "tags are immutable, images scanned, and not deleted with the repository"
  }

  assert {
    condition = jsondecode(aws_ecr_repository_policy.this.policy).Statement == [{
      Sid       = "PullForOneFunction"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Condition = { ArnLike = { "aws:SourceArn" = ["arn:aws:lambda:eu-west-1:111122223333:function:jwt-issuer-test-issuer", "arn:aws:lambda:eu-west-1:111122223333:function:jwt-issuer-test-issuer:*"] } }
    }]
    error_message = "only the one function and its versions pull"
  }

  assert {
    condition     = length(jsondecode(aws_ecr_lifecycle_policy.this.policy).rules) == 2
    error_message = "old images expire"
  }
}

run "certificate" {
  module {
    source = "./modules/certificate"
  }

  variables {
    domain_name               = "tokens.example.com"
    subject_alternative_names = ["*.tokens.example.com"]
    zone_id                   = "Z0123456789EXAMPLE"
  }

  override_resource {
    target = aws_acm_certificate.this
    values = {
      arn = "arn:aws:acm:eu-west-1:111122223333:certificate/00000000-0000-0000-0000-000000000000"
      domain_validation_options = [
        { domain_name = "tokens.example.com", resource_record_name = "_x.tokens.example.com", resource_record_type = "CNAME", resource_record_value = "_y.example.net" },
        { domain_name = "*.tokens.example.com", resource_record_name = "_x.tokens.example.com", resource_record_type = "CNAME", resource_record_value = "_y.example.net" },
      ]
    }
  }

  assert {
    condition     = [for record in aws_route53_record.validation : record.name] == ["_x.tokens.example.com"]
    error_message = "a wildcard and its base name share one record"
  }
}

# One refusal per validation. Those of different variables share a run, because every run costs a plan.
run "waf_refusals" {
  command = plan

  module {
    source = "./modules/waf"
  }

  variables {
    default_action            = "count"
    rate_limit                = 5
    cloudwatch_retention_days = 8
    name                      = "a b"
  }

  expect_failures = [var.cloudwatch_retention_days, var.default_action, var.name, var.rate_limit]
}

run "ecr_name" {
  command = plan

  module {
    source = "./modules/ecr"
  }

  variables {
    name          = "JWT"
    function_name = "issuer"
  }

  expect_failures = [var.name]
}

run "ecr_keeps_one" {
  command = plan

  module {
    source = "./modules/ecr"
  }

  variables {
    function_name = "issuer"
    keep_images   = 1
  }

  expect_failures = [var.keep_images]
}

run "certificate_name" {
  command = plan

  module {
    source = "./modules/certificate"
  }

  variables {
    domain_name = "Tokens.example.com."
    zone_id     = "Z0123456789EXAMPLE"
  }

  override_resource {
    target = aws_acm_certificate.this
    values = {
      domain_validation_options = [{ domain_name = "Tokens.example.com.", resource_record_name = "_x.example.com", resource_record_type = "CNAME", resource_record_value = "_y.example.net" }]
    }
  }

  expect_failures = [var.domain_name]
}

run "alarms" {
  module {
    source = "./modules/alarms"
  }

  variables {
    alarm_topic_arns       = ["arn:aws:sns:eu-west-1:111122223333:on-call"]
    api_name               = "jwt-issuer-test"
    function_names         = { issuer = "t-issuer", jwks = "t-jwks", rotation = "t-rotation", withdraw = "t-withdraw" }
    issuer_role_arn        = "arn:aws:iam::111122223333:role/issuer"
    jwks_ssm_param_name    = "/t/jwks"
    key_writer_role_arns   = ["arn:aws:iam::111122223333:role/rotation", "arn:aws:iam::111122223333:role/withdraw"]
    kms_key_arns           = ["arn:aws:kms:eu-west-1:111122223333:key/11111111-1111-1111-1111-111111111111"]
    log_group_names        = { issuer = "/aws/lambda/t-issuer", jwks = "/aws/lambda/t-jwks", rotation = "/aws/lambda/t-rotation" }
    mapping_ssm_param_name = "/t/mapping"
    secret_arn             = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ring-AbCdEf"
    stage_name             = "v1"
  }

  assert {
    condition = alltrue(concat(
      [for alarm in aws_cloudwatch_metric_alarm.own : alarm.namespace == "jwt-issuer-test" && contains(keys(aws_cloudwatch_log_metric_filter.this), alarm.metric_name)],
      [for alarm in concat(values(aws_cloudwatch_metric_alarm.own), values(aws_cloudwatch_metric_alarm.lambda), [aws_cloudwatch_metric_alarm.api, aws_cloudwatch_metric_alarm.key_days_left]) : alarm.alarm_actions == toset(var.alarm_topic_arns)],
    ))
    error_message = "every alarm has a metric of this environment and tells somebody"
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.lambda["withdraw-invoked"].metric_name == "Invocations" && aws_cloudwatch_metric_alarm.lambda["withdraw-invoked"].dimensions == tomap({ FunctionName = "t-withdraw" }) && aws_cloudwatch_metric_alarm.lambda["withdraw-invoked"].threshold == 1
    error_message = "every withdrawal is alarmed"
  }

  assert {
    condition     = length(aws_cloudwatch_event_target.this) == 5 && alltrue([for target in aws_cloudwatch_event_target.this : target.arn == "arn:aws:sns:eu-west-1:111122223333:on-call"])
    error_message = "every tampering event goes to the topic"
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["key-set-written"].event_pattern).detail == {
      "$or" = [
        { userIdentity = { sessionContext = { sessionIssuer = { arn = [{ "anything-but" = ["arn:aws:iam::111122223333:role/rotation", "arn:aws:iam::111122223333:role/withdraw"] }] } } } },
        { userIdentity = { sessionContext = { sessionIssuer = { arn = [{ exists = false }] } } } },
      ]
      eventName         = ["DeleteParameter", "DeleteParameters", "PutParameter"]
      eventSource       = ["ssm.amazonaws.com"]
      requestParameters = { name = ["/t/jwks"] }
    }
    error_message = "who else writes the key set is reported, with a role or without"
  }
}

run "alarms_refusals" {
  command = plan

  module {
    source = "./modules/alarms"
  }

  variables {
    api_name               = "jwt-issuer-test"
    function_names         = { issuer = "t-issuer" }
    issuer_role_arn        = "arn:aws:iam::111122223333:role/issuer"
    jwks_ssm_param_name    = "/t/jwks"
    key_writer_role_arns   = []
    kms_key_arns           = []
    log_group_names        = { issuer = "/aws/lambda/t-issuer" }
    mapping_ssm_param_name = "/t/mapping"
    secret_arn             = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:ring-AbCdEf"
    stage_name             = "v1"
    thresholds             = { failures = 0 }
  }

  expect_failures = [var.function_names, var.log_group_names, var.thresholds]
}
