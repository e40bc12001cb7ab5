locals {
  # The ARN of the secret names partition and account without asking AWS again.
  _arn        = split(":", aws_secretsmanager_secret.this.arn)
  _partition  = local._arn[1]
  _region     = local._arn[3]
  _account_id = local._arn[4]

  _signing = {
    RS256 = { spec = "RSA_2048", algorithm = "RSASSA_PKCS1_V1_5_SHA_256" }
    PS256 = { spec = "RSA_2048", algorithm = "RSASSA_PSS_SHA_256" }
    ES256 = { spec = "ECC_NIST_P256", algorithm = "ECDSA_SHA_256" }
    ES384 = { spec = "ECC_NIST_P384", algorithm = "ECDSA_SHA_384" }
  }

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

  signing_key_policies = {
    for name, key in var.kms_signing_keys : name => jsonencode({
      Version = "2012-10-17"
      Statement = [
        local._administration,
        {
          Sid       = "SignWithOneAlgorithm"
          Effect    = "Allow"
          Principal = { AWS = [var.issuer_role_arn, var.rotation_role_arn, var.withdraw_role_arn] }
          Action    = ["kms:Sign"]
          Resource  = "*"
          Condition = { StringEquals = { "kms:SigningAlgorithm" = local._signing[key.algorithm].algorithm } }
        },
        {
          Sid       = "ReadThePublicHalf"
          Effect    = "Allow"
          Principal = { AWS = [var.issuer_role_arn, var.rotation_role_arn, var.withdraw_role_arn] }
          Action    = ["kms:DescribeKey", "kms:GetPublicKey"]
          Resource  = "*"
        },
        {
          Sid       = "WithdrawDisables"
          Effect    = "Allow"
          Principal = { AWS = [var.withdraw_role_arn] }
          Action    = ["kms:DisableKey"]
          Resource  = "*"
        },
      ]
    })
  }
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

# The private half of these never leaves KMS. Asymmetric keys do not rotate by themselves: add one, let the rotation take
# it up, and remove an old one only when the ring no longer names it.
resource "aws_kms_key" "signing" {
  #checkov:skip=CKV_AWS_7:KMS has no automatic rotation for asymmetric keys; the ring rotates between keys
  #checkov:skip=CKV2_AWS_64:the policy is aws_kms_key_policy.signing
  for_each = var.kms_signing_keys

  description              = "Signs ${each.value.algorithm} tokens of ${var.name} (${each.key})"
  key_usage                = "SIGN_VERIFY"
  customer_master_key_spec = each.value.rsa_bits == null ? local._signing[each.value.algorithm].spec : "RSA_${each.value.rsa_bits}"
  deletion_window_in_days  = var.kms_deletion_window_in_days
}

resource "aws_kms_key_policy" "signing" {
  for_each = var.kms_signing_keys

  key_id = aws_kms_key.signing[each.key].key_id
  policy = local.signing_key_policies[each.key]
}

resource "aws_kms_alias" "signing" {
  for_each = var.kms_signing_keys

  name          = "alias/${var.name}-${each.key}"
  target_key_id = aws_kms_key.signing[each.key].key_id
}
