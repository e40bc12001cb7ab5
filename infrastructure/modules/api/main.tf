locals {
  # What verifiers read. Every path is spelled out, so that no wildcard stands in a policy.
  _documents = toset(["jwks.json", "oauth-authorization-server", "openid-configuration"])

  _public = {
    for pair in setproduct(local._documents, ["GET", "HEAD"]) : "${pair[1]}/.well-known/${pair[0]}" => { document = pair[0], method = pair[1] }
  }

  # arn:PARTITION:execute-api:REGION:ACCOUNT:API
  _arn        = split(":", aws_api_gateway_rest_api.this.execution_arn)
  _partition  = local._arn[1]
  _region     = local._arn[3]
  _account_id = local._arn[4]
  _dns_suffix = local._partition == "aws-cn" ? "amazonaws.com.cn" : "amazonaws.com"

  public_routes = toset([for route in keys(local._public) : "${var.stage_name}/${route}"])
  token_route   = "${var.stage_name}/POST/token"

  issuer_url = (
    var.domain_name != null ? "https://${var.domain_name}" :
    "https://${aws_api_gateway_rest_api.this.id}.execute-api.${local._region}.${local._dns_suffix}/${var.stage_name}"
  )
}

resource "aws_api_gateway_rest_api" "this" {
  name        = var.name
  description = "Tokens for IAM principals: POST /token, and the public keys below /.well-known"

  # With a domain the stage's own URL would be a second door that neither the issuer's name nor its DNS controls.
  disable_execute_api_endpoint = var.domain_name != null

  endpoint_configuration {
    types = ["REGIONAL"]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_resource" "token" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_rest_api.this.root_resource_id
  path_part   = "token"
}

resource "aws_api_gateway_method" "token" {
  #checkov:skip=CKV2_AWS_53:the function parses the body strictly and explains what is wrong with it
  rest_api_id   = aws_api_gateway_rest_api.this.id
  resource_id   = aws_api_gateway_resource.token.id
  http_method   = "POST"
  authorization = "AWS_IAM"
}

resource "aws_api_gateway_integration" "token" {
  rest_api_id             = aws_api_gateway_rest_api.this.id
  resource_id             = aws_api_gateway_resource.token.id
  http_method             = aws_api_gateway_method.token.http_method
  integration_http_method = "POST"
  type                    = "AWS_PROXY"
  uri                     = var.issuer_lambda_invoke_arn
  timeout_milliseconds    = var.integration_timeout_milliseconds
}

resource "aws_api_gateway_resource" "well_known" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_rest_api.this.root_resource_id
  path_part   = ".well-known"
}

resource "aws_api_gateway_resource" "document" {
  for_each = local._documents

  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_resource.well_known.id
  path_part   = each.value
}

resource "aws_api_gateway_method" "document" {
  #checkov:skip=CKV_AWS_59:public keys and metadata are for anybody; the role behind them reads one parameter and nothing else
  #checkov:skip=CKV2_AWS_53:the request has no body and no parameters
  #checkov:skip=CKV2_AWS_70:as CKV_AWS_59
  for_each = local._public

  rest_api_id   = aws_api_gateway_rest_api.this.id
  resource_id   = aws_api_gateway_resource.document[each.value.document].id
  http_method   = each.value.method
  authorization = "NONE"
}

resource "aws_api_gateway_integration" "document" {
  for_each = local._public

  rest_api_id             = aws_api_gateway_rest_api.this.id
  resource_id             = aws_api_gateway_resource.document[each.value.document].id
  http_method             = aws_api_gateway_method.document[each.key].http_method
  integration_http_method = "POST"
  type                    = "AWS_PROXY"
  uri                     = var.jwks_lambda_invoke_arn
  timeout_milliseconds    = var.integration_timeout_milliseconds
}

# A deployment is a copy: whatever is not among the triggers does not go live when it changes, the policy included.
resource "aws_api_gateway_deployment" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  description = "Managed as code"

  triggers = {
    redeployment = sha256(jsonencode([
      aws_api_gateway_rest_api.this.disable_execute_api_endpoint,
      aws_api_gateway_rest_api.this.endpoint_configuration[0].types,
      local.resource_policy,
      [aws_api_gateway_resource.token.id, aws_api_gateway_method.token.authorization, aws_api_gateway_integration.token.uri],
      [for route, method in aws_api_gateway_method.document : [route, method.resource_id, method.authorization]],
      [for route, integration in aws_api_gateway_integration.document : [route, integration.uri]],
      var.integration_timeout_milliseconds,
    ]))
  }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [
    aws_api_gateway_integration.document,
    aws_api_gateway_integration.token,
    aws_api_gateway_rest_api_policy.this,
  ]
}

resource "aws_api_gateway_stage" "this" {
  #checkov:skip=CKV_AWS_120:a cache in front of this API would hand one caller's token to another
  #checkov:skip=CKV2_AWS_51:callers authenticate with SigV4; a client certificate would be a second identity nobody maps
  #checkov:skip=CKV2_AWS_77:as CKV_AWS_192 in modules/waf: the rule set is there, in a dynamic block
  #checkov:skip=CKV2_AWS_29:the web ACL is associated in this module whenever one is given; the root gives one by default
  rest_api_id          = aws_api_gateway_rest_api.this.id
  deployment_id        = aws_api_gateway_deployment.this.id
  stage_name           = var.stage_name
  xray_tracing_enabled = true

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn

    # extendedRequestId, because callers can choose requestId.
    format = jsonencode({
      extendedRequestId = "$context.extendedRequestId"
      requestId         = "$context.requestId"
      requestTime       = "$context.requestTime"
      httpMethod        = "$context.httpMethod"
      resourcePath      = "$context.resourcePath"
      status            = "$context.status"
      sourceIp          = "$context.identity.sourceIp"
      accountId         = "$context.identity.accountId"
      caller            = "$context.identity.caller"
      userArn           = "$context.identity.userArn"
      principalOrgId    = "$context.identity.principalOrgId"
      responseLatency   = "$context.responseLatency"
      integrationStatus = "$context.integration.status"
      integrationError  = "$context.integration.error"
      authorizeError    = "$context.authorize.error"
      wafResponseCode   = "$context.wafResponseCode"
      xrayTraceId       = "$context.xrayTraceId"
    })
  }
}

resource "aws_api_gateway_method_settings" "this" {
  #checkov:skip=CKV_AWS_225:as CKV_AWS_120: tokens are never cached
  #checkov:skip=CKV_AWS_308:as CKV_AWS_120
  rest_api_id = aws_api_gateway_rest_api.this.id
  stage_name  = aws_api_gateway_stage.this.stage_name
  method_path = "*/*"

  settings {
    metrics_enabled        = true
    logging_level          = "ERROR"
    data_trace_enabled     = false
    throttling_burst_limit = var.throttle.burst
    throttling_rate_limit  = var.throttle.rate
  }
}

resource "aws_cloudwatch_log_group" "access" {
  #checkov:skip=CKV_AWS_158:access lines name callers, never tokens; log_kms_key_arn takes a key where a policy asks for one
  name              = "/aws/apigateway/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
}

resource "aws_wafv2_web_acl_association" "this" {
  for_each = var.associate_web_acl ? { this = true } : {}

  resource_arn = aws_api_gateway_stage.this.arn
  web_acl_arn  = var.web_acl_arn
}
