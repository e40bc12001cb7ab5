# The API by itself: who may call what, and what stands in front of it.
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
  name                     = "jwt-issuer-test"
  organization_id          = "o-exampleorg1"
  issuer_lambda_invoke_arn = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:issuer:live/invocations"
  jwks_lambda_invoke_arn   = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:jwks:live/invocations"
  web_acl_arn              = "arn:aws:wafv2:eu-west-1:111122223333:regional/webacl/mock/00000000-0000-0000-0000-000000000000"
}

run "resource_policy" {
  module {
    source = "./modules/api"
  }

  assert {
    condition     = [for s in jsondecode(output.resource_policy).Statement : s.Sid] == ["AnybodyReadsPublicKeys", "OrganizationAsksForTokens", "NobodyElseAsksForTokens", "NobodyForgesSsoRoles"]
    error_message = "the policy has exactly these four statements"
  }

  assert {
    condition     = alltrue([for s in jsondecode(output.resource_policy).Statement : s.Action == "execute-api:Invoke" && s.Principal == "*"])
    error_message = "every statement is about invoking, by anybody that its condition admits"
  }

  assert {
    condition     = alltrue(flatten([for s in jsondecode(output.resource_policy).Statement : [for r in s.Resource : !strcontains(r, "*") && startswith(r, "arn:aws:execute-api:eu-west-1:111122223333:abcdef1234/v1/")]]))
    error_message = "every resource is a route of this API and stage, without a wildcard"
  }

  # Without a condition: only what is public.
  assert {
    condition = toset(flatten([for s in jsondecode(output.resource_policy).Statement : s.Resource if s.Effect == "Allow" && !can(s.Condition)])) == toset([
      for route in setproduct(["GET", "HEAD"], ["jwks.json", "oauth-authorization-server", "openid-configuration"]) :
      "arn:aws:execute-api:eu-west-1:111122223333:abcdef1234/v1/${route[0]}/.well-known/${route[1]}"
    ])
    error_message = "anonymous callers reach the public documents and nothing else"
  }

  # A negated condition holds for callers that lack the key, so a Deny over the API would refuse verifiers.
  assert {
    condition     = alltrue([for s in jsondecode(output.resource_policy).Statement : s.Resource == ["arn:aws:execute-api:eu-west-1:111122223333:abcdef1234/v1/POST/token"] if s.Effect == "Deny"])
    error_message = "every Deny names POST /token alone"
  }

  assert {
    condition = [for s in jsondecode(output.resource_policy).Statement : s.Condition if s.Effect == "Allow" && contains(s.Resource, "arn:aws:execute-api:eu-west-1:111122223333:abcdef1234/v1/POST/token")] == [{
      StringEquals    = { "aws:PrincipalOrgID" = "o-exampleorg1" }
      StringNotEquals = { "aws:PrincipalAccount" = "111122223333" }
    }]
    error_message = "tokens are for the organization, and not for the own account merely because it is the own account"
  }

  assert {
    condition = [for s in jsondecode(output.resource_policy).Statement : s.Condition if s.Sid == "NobodyElseAsksForTokens"] == [{
      StringNotEquals = { "aws:PrincipalOrgID" = "o-exampleorg1" }
    }]
    error_message = "an identity policy of the own account does not open the door to another organization"
  }

  assert {
    condition = [for s in jsondecode(output.resource_policy).Statement : [s.Effect, s.Condition] if s.Sid == "NobodyForgesSsoRoles"] == [["Deny", {
      ArnLike    = { "aws:PrincipalArn" = "arn:*:iam::*:role/*AWSReservedSSO_*" }
      ArnNotLike = { "aws:PrincipalArn" = "arn:*:iam::*:role/aws-reserved/sso.amazonaws.com/*" }
    }]]
    error_message = "a role with an Identity Center name on another path is refused"
  }

  assert {
    condition     = output.sso_path_enforced
    error_message = "SSO_PATH_ENFORCED goes with the Deny"
  }

  assert {
    condition     = length(output.resource_policy) <= 8192
    error_message = "the policy is within API Gateway's limit"
  }
}

run "methods_and_stage" {
  module {
    source = "./modules/api"
  }

  assert {
    condition     = aws_api_gateway_method.token.http_method == "POST" && aws_api_gateway_method.token.authorization == "AWS_IAM"
    error_message = "POST /token takes SigV4 only"
  }

  assert {
    condition     = length(aws_api_gateway_method.document) == 6 && alltrue([for method in aws_api_gateway_method.document : method.authorization == "NONE" && contains(["GET", "HEAD"], method.http_method)])
    error_message = "the public documents are read without credentials, by GET and HEAD"
  }

  assert {
    condition     = aws_api_gateway_integration.token.uri == var.issuer_lambda_invoke_arn && alltrue([for integration in aws_api_gateway_integration.document : integration.uri == var.jwks_lambda_invoke_arn])
    error_message = "each route calls its own function, by alias"
  }

  assert {
    condition     = aws_api_gateway_rest_api.this.endpoint_configuration[0].types == tolist(["REGIONAL"])
    error_message = "the endpoint is regional"
  }

  assert {
    condition     = aws_api_gateway_stage.this.xray_tracing_enabled && strcontains(aws_api_gateway_stage.this.access_log_settings[0].format, "$context.extendedRequestId")
    error_message = "the stage traces, and its access log names the request by the id that callers cannot choose"
  }

  assert {
    condition     = !can(regex("authorization\"|requestBody|responseBody|accessKey", aws_api_gateway_stage.this.access_log_settings[0].format))
    error_message = "the access log holds no credential and no body"
  }

  assert {
    condition = (
      aws_api_gateway_method_settings.this.method_path == "*/*" && aws_api_gateway_method_settings.this.settings[0].throttling_rate_limit == 100 &&
      aws_api_gateway_method_settings.this.settings[0].throttling_burst_limit == 200 && aws_api_gateway_method_settings.this.settings[0].data_trace_enabled == false
    )
    error_message = "every method is throttled, and bodies are never logged"
  }

  assert {
    condition     = aws_wafv2_web_acl_association.this["this"].resource_arn == aws_api_gateway_stage.this.arn
    error_message = "the web ACL stands in front of the stage"
  }

  assert {
    condition     = output.issuer_url == "https://abcdef1234.execute-api.eu-west-1.amazonaws.com/v1" && aws_api_gateway_rest_api.this.disable_execute_api_endpoint == false && length(aws_api_gateway_domain_name.this) == 0
    error_message = "without a domain the stage's URL is the issuer"
  }
}

run "a_domain_is_the_only_door" {
  module {
    source = "./modules/api"
  }

  variables {
    domain_name     = "tokens.example.com"
    certificate_arn = "arn:aws:acm:eu-west-1:111122223333:certificate/00000000-0000-0000-0000-000000000000"
    tld_zone_id     = "Z0123456789EXAMPLE"
  }

  assert {
    condition     = output.issuer_url == "https://tokens.example.com"
    error_message = "the domain is the issuer, without a stage in it"
  }

  assert {
    condition     = aws_api_gateway_rest_api.this.disable_execute_api_endpoint
    error_message = "the stage's own URL is closed"
  }

  assert {
    condition     = aws_api_gateway_domain_name.this["this"].security_policy == "TLS_1_2" && aws_api_gateway_domain_name.this["this"].endpoint_configuration[0].types == tolist(["REGIONAL"])
    error_message = "the domain is regional and takes TLS 1.2 and later"
  }

  assert {
    condition     = aws_route53_record.this["this"].name == "tokens.example.com" && length(aws_api_gateway_base_path_mapping.this) == 1
    error_message = "DNS and the root path lead to the stage"
  }
}

# A deployment is a copy: what is not among its triggers does not go live.
run "a_policy_change_redeploys" {
  module {
    source = "./modules/api"
  }

  variables {
    organization_id = "o-exampleorg2"
  }

  assert {
    condition     = aws_api_gateway_deployment.this.triggers["redeployment"] != run.methods_and_stage.redeployment
    error_message = "another policy is another deployment"
  }
}

run "domain_without_certificate" {
  command = plan

  module {
    source = "./modules/api"
  }

  variables {
    domain_name = "tokens.example.com"
  }

  expect_failures = [aws_api_gateway_domain_name.this]
}

# One refusal per validation. Those of different variables share a run, because every run costs a plan.
run "refusals_1" {
  command = plan

  module {
    source = "./modules/api"
  }

  variables {
    organization_id                  = "aws:PrincipalOrgID"
    stage_name                       = "test-invoke-stage"
    throttle                         = { rate = 0 }
    integration_timeout_milliseconds = 30000
    log_retention_days               = 0
  }

  expect_failures = [var.integration_timeout_milliseconds, var.log_retention_days, var.organization_id, var.stage_name, var.throttle]
}

run "refusals_2" {
  command = plan

  module {
    source = "./modules/api"
  }

  variables {
    domain_name     = "https://tokens.example.com"
    certificate_arn = "arn:aws:acm:eu-west-1:111122223333:certificate/00000000-0000-0000-0000-000000000000"
  }

  expect_failures = [var.domain_name]
}
