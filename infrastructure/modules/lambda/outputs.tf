output "alias_arn" {
  description = "ARN of the alias."
  value       = aws_lambda_alias.this.arn
}

output "alias_name" {
  description = "Name of the alias."
  value       = aws_lambda_alias.this.name
}

output "environment" {
  description = "The environment the function runs with."
  value       = var.lambda_environment_variables
}

output "function_arn" {
  description = "ARN of the function, unqualified."
  value       = aws_lambda_function.this.arn
}

output "function_name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "invoke_arn" {
  description = "What an API Gateway integration calls: the alias, never $LATEST."
  value       = aws_lambda_alias.this.invoke_arn
}

output "log_group_name" {
  description = "The function's log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "policy_json" {
  description = "The role's whole policy, for reviews and tests."
  value       = aws_iam_role_policy.this.policy
}

output "role_arn" {
  description = "ARN of the function's role."
  value       = aws_iam_role.this.arn
}

output "role_name" {
  description = "Name of the function's role."
  value       = aws_iam_role.this.name
}
