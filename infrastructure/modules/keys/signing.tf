# Keys whose private half stays in KMS. Rotation and withdrawal make them, at run time and one for every rotation, so there
# is no ARN to grant: what the functions may do goes by the tag that they make each key with. Its value is the ARN of the
# secret with the ring, which AWS ends with six random characters: another environment of the account has another one, even
# if it bears a name that was used before.
locals {
  _tag      = "jwt-issuer:ring"
  _all_keys = "arn:${local._partition}:kms:${local._region}:${local._account_id}:key/*"

  # ENCRYPT_DECRYPT keys are out of reach even for whoever could tag them.
  _own_signing_key = {
    StringEquals = {
      "aws:ResourceTag/${local._tag}" = [aws_secretsmanager_secret.this.arn]
      "kms:KeyUsage"                  = ["SIGN_VERIFY"]
    }
  }

  _read = {
    ReadOwnPublicKeys = {
      actions    = ["kms:GetPublicKey"]
      resources  = [local._all_keys]
      conditions = local._own_signing_key
    }
  }

  _sign = {
    SignWithOwnKeys = {
      actions    = ["kms:Sign"]
      resources  = [local._all_keys]
      conditions = local._own_signing_key
    }
  }

  _make = {
    # A key that is not there yet has no ARN: CreateKey takes "*" and nothing else.
    MakeSigningKeys = {
      actions   = ["kms:CreateKey"]
      resources = ["*"]
      conditions = {
        "ForAllValues:StringEquals" = { "aws:TagKeys" = [local._tag] }
        StringEquals = {
          "aws:RequestTag/${local._tag}" = [aws_secretsmanager_secret.this.arn]
          "kms:KeySpec"                  = ["ECC_NIST_P256", "ECC_NIST_P384", "RSA_2048"]
          "kms:KeyUsage"                 = ["SIGN_VERIFY"]
        }
      }
    }
    # CreateKey with a tag asks for this, too. It cannot be bound to the making of a key, but a key that carries another
    # ring's tag is never taken over: IfExists, because a key in the making has no tag yet.
    TagSigningKeys = {
      actions   = ["kms:TagResource"]
      resources = [local._all_keys]
      conditions = {
        "ForAllValues:StringEquals" = { "aws:TagKeys" = [local._tag] }
        StringEquals                = { "aws:RequestTag/${local._tag}" = [aws_secretsmanager_secret.this.arn] }
        StringEqualsIfExists        = { "aws:ResourceTag/${local._tag}" = [aws_secretsmanager_secret.this.arn] }
      }
    }
  }

  _disable = {
    DisableOwnKeys = {
      actions    = ["kms:DisableKey"]
      resources  = [local._all_keys]
      conditions = local._own_signing_key
    }
  }

  # While keys move back to the ring, those in KMS still sign and can be withdrawn; none is made.
  _makes = var.key_store == "kms"
  _uses  = var.key_store != "ring"
}
