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

output "signing_key_tag" {
  description = "The tag that every KMS signing key of this ring carries (key, value), and the ARN pattern of keys (resource); null without such keys."
  value       = local._uses ? { key = local._tag, resource = local._all_keys, value = aws_secretsmanager_secret.this.arn } : null
}

output "signing_statements" {
  description = "What functions may do with KMS signing keys, as policy_statements of the lambda module: read, sign, make, disable => Sid => statement. Empty where the key store has no such keys."
  value = {
    disable = { for sid, statement in local._disable : sid => statement if local._uses }
    make    = { for sid, statement in local._make : sid => statement if local._makes }
    read    = { for sid, statement in local._read : sid => statement if local._uses }
    sign    = { for sid, statement in local._sign : sid => statement if local._uses }
  }
}
