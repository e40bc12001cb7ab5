# Where the keys live. No key is made here: whatever OpenTofu makes stands in its state, so the rotation function makes the
# first ring as it makes every other.
resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:rotated by modules/rotation, which has the function
  name                    = "${var.name}/signing-keys"
  description             = "Key ring of ${var.name}: written by its rotation, read by its issuer"
  kms_key_id              = aws_kms_key.secret.arn
  recovery_window_in_days = var.secret_recovery_window_in_days
}

# The rotation function owns the value. Before its first run the set is empty, which both functions answer with 503 and
# never serve. Nothing here may lead to a PutParameter afterwards: it would write the value of the last refresh over a
# newer one, and un-publish a key that signs.
resource "aws_ssm_parameter" "jwks" {
  #checkov:skip=CKV2_AWS_34:public keys; what matters is who may write them
  name           = "/${var.name}/jwks"
  description    = "Published key set of ${var.name}: written by its rotation"
  type           = "String"
  tier           = "Advanced"
  insecure_value = jsonencode({ keys = [] })

  lifecycle {
    ignore_changes = [allowed_pattern, data_type, description, insecure_value, tier, value]
  }
}

# Advanced from the start: 8 KB, and a parameter cannot go back to the standard tier.
resource "aws_ssm_parameter" "mapping" {
  #checkov:skip=CKV2_AWS_34:rules, not secrets; what matters is who may write them
  name           = "/${var.name}/mapping"
  description    = "Who may have which token from ${var.name}"
  type           = "String"
  tier           = "Advanced"
  insecure_value = var.mapping
}
