output "jwks_ssm_param_arn" {
  description = "ARN of the parameter with the published key set."
  value       = aws_ssm_parameter.jwks.arn
}

output "jwks_ssm_param_name" {
  description = "Name of the parameter with the published key set."
  value       = aws_ssm_parameter.jwks.name
}

output "mapping_ssm_param_arn" {
  description = "ARN of the parameter with the mapping document."
  value       = aws_ssm_parameter.mapping.arn
}

output "mapping_ssm_param_name" {
  description = "Name of the parameter with the mapping document."
  value       = aws_ssm_parameter.mapping.name
}

output "secret_arn" {
  description = "ARN of the secret with the key ring."
  value       = aws_secretsmanager_secret.this.arn
}

output "secret_id" {
  description = "Identifier of the secret with the key ring."
  value       = aws_secretsmanager_secret.this.id
}

output "secret_key_arn" {
  description = "ARN of the KMS key that encrypts the secret."
  value       = aws_kms_key.secret.arn
}

output "secret_key_policy" {
  description = "Policy of the KMS key that encrypts the secret."
  value       = aws_kms_key_policy.secret.policy
}

output "signing_key_arns" {
  description = "KMS signing keys: name => ARN."
  value       = { for name, key in aws_kms_key.signing : name => key.arn }
}

output "signing_key_policies" {
  description = "Policies of the KMS signing keys: name => policy."
  value       = { for name, policy in aws_kms_key_policy.signing : name => policy.policy }
}
