locals {
  # The ARN of the secret names partition and account without asking AWS again.
  _arn        = split(":", aws_secretsmanager_secret.this.arn)
  _partition  = local._arn[1]
  _region     = local._arn[3]
  _account_id = local._arn[4]

  # Administration without use: an administrator of the account manages the key, but neither reads the ring nor signs
  # before changing this policy, which is seen (modules/alarms).
  _administration = {
    Sid       = "AccountAdministers"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local._partition}:iam::${local._account_id}:root" }
    Action = [
      "kms:CancelKeyDeletion",
      "kms:CreateAlias",
      "kms:DeleteAlias",
      "kms:DescribeKey",
      "kms:DisableKey",
      "kms:DisableKeyRotation",
      "kms:EnableKey",
      "kms:EnableKeyRotation",
      "kms:GetKeyPolicy",
      "kms:GetKeyRotationStatus",
      "kms:GetPublicKey",
      "kms:ListGrants",
      "kms:ListKeyPolicies",
      "kms:ListResourceTags",
      "kms:PutKeyPolicy",
      "kms:RevokeGrant",
      "kms:ScheduleKeyDeletion",
      "kms:TagResource",
      "kms:UntagResource",
      "kms:UpdateAlias",
      "kms:UpdateKeyDescription",
    ]
    # In a key policy "*" is the key itself.
    Resource = "*"
  }

  _through_secret = {
    StringEquals = {
      "kms:EncryptionContext:SecretARN" = aws_secretsmanager_secret.this.arn
      "kms:ViaService"                  = "secretsmanager.${local._region}.${local._partition == "aws-cn" ? "amazonaws.com.cn" : "amazonaws.com"}"
    }
  }

  secret_key_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local._administration,
      {
        Sid       = "ReadersDecryptThroughTheSecret"
        Effect    = "Allow"
        Principal = { AWS = [var.issuer_role_arn] }
        Action    = ["kms:Decrypt"]
        Resource  = "*"
        Condition = local._through_secret
      },
      {
        Sid       = "WritersUseItThroughTheSecret"
        Effect    = "Allow"
        Principal = { AWS = [var.rotation_role_arn, var.withdraw_role_arn] }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = "*"
        Condition = local._through_secret
      },
    ]
  })
}

resource "aws_kms_key" "secret" {
  #checkov:skip=CKV2_AWS_64:the policy is aws_kms_key_policy.secret, apart because it names the secret that names the key
  description             = "Encrypts the key ring of ${var.name}"
  deletion_window_in_days = var.kms_deletion_window_in_days
  enable_key_rotation     = true
}

resource "aws_kms_key_policy" "secret" {
  key_id = aws_kms_key.secret.key_id
  policy = local.secret_key_policy
}

resource "aws_kms_alias" "secret" {
  name          = "alias/${var.name}-signing-keys"
  target_key_id = aws_kms_key.secret.key_id
}
