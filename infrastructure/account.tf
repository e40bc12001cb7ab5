# API Gateway writes logs with one role per account and region, whichever API it is. One environment (or the landing zone)
# owns it: two that both did would take it from each other.
resource "aws_iam_role" "api_gateway_logs" {
  for_each = var.create_api_gateway_account_role ? { this = true } : {}

  name        = "${var.name}-api-gateway-logs"
  description = "API Gateway writes the logs of this account's APIs"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ApiGatewayOnly"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "apigateway.amazonaws.com" }
    }]
  })
}

# AWS's own policy: API Gateway refuses a role that cannot describe and create log groups of any name.
resource "aws_iam_role_policy_attachment" "api_gateway_logs" {
  for_each = aws_iam_role.api_gateway_logs

  role       = each.value.name
  policy_arn = "arn:${split(":", each.value.arn)[1]}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
}

resource "aws_api_gateway_account" "this" {
  for_each = aws_iam_role.api_gateway_logs

  cloudwatch_role_arn = each.value.arn

  depends_on = [aws_iam_role_policy_attachment.api_gateway_logs]
}
