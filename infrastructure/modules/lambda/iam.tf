locals {
  # AWS chooses the names of log streams, so their wildcard cannot be closed further.
  _own_statements = [
    {
      Sid      = "WriteOwnLog"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = ["${aws_cloudwatch_log_group.this.arn}:log-stream:*"]
    },
    {
      # X-Ray knows no resources: "*" is the only value these two actions take.
      Sid      = "WriteTraces"
      Effect   = "Allow"
      Action   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      Resource = ["*"]
    },
  ]

  _given_statements = [
    for sid in sort(keys(var.policy_statements)) : merge(
      {
        Sid      = sid
        Effect   = "Allow"
        Action   = var.policy_statements[sid].actions
        Resource = var.policy_statements[sid].resources
      },
      { for name, conditions in { Condition = var.policy_statements[sid].conditions } : name => conditions if length(conditions) > 0 },
    )
  ]

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat(local._given_statements, local._own_statements)
  })
}

resource "aws_iam_role" "this" {
  name        = var.name
  description = "What ${var.name} may do"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "LambdaOnly"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  #checkov:skip=CKV_AWS_290:the only "*" are X-Ray's, whose actions take no resource, and kms:CreateKey's, bound by tag, spec and usage; tests/lambda.tftest.hcl and tests/kms.tftest.hcl assert that they are the only ones
  #checkov:skip=CKV_AWS_355:as CKV_AWS_290
  name   = "least-privilege"
  role   = aws_iam_role.this.name
  policy = local.policy
}

# One statement per route, each with the exact API, stage, method and path: the console's test invocation
# (stage test-invoke-stage, no authorization) and every other API are refused by Lambda itself.
resource "aws_lambda_permission" "api_gateway" {
  for_each = var.api_gateway_routes

  statement_id  = "ApiGateway-${trim(replace(each.value, "/[^A-Za-z0-9]+/", "-"), "-")}"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this.function_name
  qualifier     = aws_lambda_alias.this.name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${var.api_gateway_execution_arn}/${each.value}"
}
