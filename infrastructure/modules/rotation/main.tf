# Two functions that write keys, each with a role of its own: the rotation, which Secrets Manager calls on a schedule, and
# the withdrawal, which only an operator calls. The issuer can do neither.
locals {
  _account_id = split(":", var.secret_arn)[4]

  _keys = {
    ReadAndWriteRing = {
      actions = [
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
      ]
      resources  = [var.secret_arn]
      conditions = {}
    }
    DecryptRing = {
      actions    = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources  = [var.secret_key_arn]
      conditions = { StringEquals = { "kms:EncryptionContext:SecretARN" = [var.secret_arn] } }
    }
    PublishKeySet = {
      actions    = ["ssm:GetParameter", "ssm:PutParameter"]
      resources  = [var.jwks_ssm_param_arn]
      conditions = {}
    }
  }

  # Both make keys: a rotation the next standby, a withdrawal what replaces the withdrawn. "Sign with every private half,
  # verify with the published set" holds for KMS keys too, so the rotation signs. Only the withdrawal disables.
  _kms_rotation = merge(var.signing_statements.make, var.signing_statements.read, var.signing_statements.sign)
  _kms_withdraw = merge(var.signing_statements.make, var.signing_statements.read, var.signing_statements.disable)

  # Warm issuers hold the old ring for up to five minutes. A new version behind the alias replaces them at once. The right
  # to change the issuer's settings is a right to forge, so it is given only when asked for.
  _recycle = !var.recycle_issuers ? {} : {
    RecycleWarmIssuers = {
      actions = [
        "lambda:GetFunctionConfiguration",
        "lambda:PublishVersion",
        "lambda:UpdateAlias",
        "lambda:UpdateFunctionConfiguration",
      ]
      resources  = [var.issuer_function_arn, var.issuer_alias_arn]
      conditions = {}
    }
  }
}

module "rotation" {
  source = "../lambda"

  name                         = "${var.name}-rotation"
  description                  = "Rotates the key ring: publishes before it signs"
  architecture                 = var.architecture
  image_uri                    = var.image_uri
  zip                          = var.zip
  timeout_seconds              = 60
  lambda_environment_variables = var.lambda_environment_variables
  log_kms_key_arn              = var.log_kms_key_arn
  log_retention_days           = var.log_retention_days
  policy_statements            = merge(local._keys, local._kms_rotation)
}

module "withdraw" {
  source = "../lambda"

  name              = "${var.name}-withdraw"
  description       = "Withdraws a compromised key"
  architecture      = var.architecture
  image_uri         = var.withdraw_image_uri
  zip               = var.withdraw_zip
  timeout_seconds   = 60
  log_kms_key_arn   = var.log_kms_key_arn
  policy_statements = merge(local._keys, local._kms_withdraw, local._recycle)

  log_retention_days = var.log_retention_days
  lambda_environment_variables = merge(var.lambda_environment_variables, !var.recycle_issuers ? {} : {
    ISSUER_FUNCTION_ALIAS = var.issuer_alias_name
    ISSUER_FUNCTION_NAME  = var.issuer_function_name
  })
}

# The service alone is no caller to trust: any account could point a secret of its own at this function.
resource "aws_lambda_permission" "secrets_manager" {
  statement_id   = "SecretsManagerRotates"
  action         = "lambda:InvokeFunction"
  function_name  = module.rotation.function_name
  principal      = "secretsmanager.amazonaws.com"
  source_account = local._account_id
  source_arn     = var.secret_arn
}

resource "aws_secretsmanager_secret_rotation" "this" {
  #checkov:skip=CKV_AWS_304:the interval is the key policy's (30 days unless set), which checkov cannot see through a variable
  for_each = var.rotation_enabled ? { this = true } : {}

  secret_id           = var.secret_arn
  rotation_lambda_arn = module.rotation.function_arn
  # The first run makes the first ring.
  rotate_immediately = true

  rotation_rules {
    automatically_after_days = var.automatically_after_days
  }

  depends_on = [aws_lambda_permission.secrets_manager]
}
