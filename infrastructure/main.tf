# One environment of the issuer. Every name begins with var.name, so that several live in one account.
#
# The functions need the API's identifier and URL in their environment, the API needs the functions, and the keys need the
# functions' roles: the modules refer to each other in both directions, their resources never in a circle. So no module
# carries a depends_on; the resources that need an order say so themselves.

locals {
  _functions = {
    issuer   = { tag = var.issuer_image_tag, repository = var.issuer_ecr_name }
    jwks     = { tag = var.jwks_image_tag, repository = var.jwks_ecr_name }
    rotation = { tag = var.rotation_image_tag, repository = var.rotation_ecr_name }
    withdraw = { tag = var.withdraw_image_tag, repository = var.withdraw_ecr_name }
  }

  _repositories = { for key, function in local._functions : key => coalesce(function.repository, "${var.name}-${key}") }

  # From the checked configuration, so that a refusal there is the only thing said.
  _name   = terraform_data.configuration.input.name
  _domain = terraform_data.configuration.input.domain

  _zips   = { for key in keys(local._functions) : key => lookup(var.zips, key, null) }
  _images = { for key, function in local._functions : key => function.tag if function.tag != null }

  _repository_urls = merge(
    { for key, repository in module.ecr : key => repository.repository_url },
    { for key, repository in data.aws_ecr_repository.this : key => repository.repository_url },
  )

  # A digest pins what runs for good; a tag does so because the repository's tags are immutable.
  _image_uris = {
    for key in keys(local._functions) : key => (
      !contains(keys(local._images), key) ? null :
      startswith(local._images[key], "sha256:") ? "${local._repository_urls[key]}@${local._images[key]}" :
      "${local._repository_urls[key]}:${local._images[key]}"
    )
  }

  # Processes that may sign with KMS at once: the issuer's, one rotation and one withdrawal.
  _kms_signers = var.reserved_concurrency.issuer + 2

  # What every function that opens KMS keys reads.
  _kms_environment = var.key_store == "ring" ? {} : { KMS_SIGNS_PER_SECOND = tostring(var.kms_signatures.per_second) }

  _certificate_arn = var.certificate_arn != null ? var.certificate_arn : one([for certificate in module.certificate : certificate.certificate_arn])
}

# Rules that concern several variables. They hold before anything is made.
resource "terraform_data" "configuration" {
  input = { name = var.name, domain = var.domain }

  lifecycle {
    precondition {
      condition     = alltrue([for key in keys(local._functions) : contains(keys(local._images), key) != (local._zips[key] != null)])
      error_message = "packages: expected for each of issuer, jwks, rotation and withdraw either an image tag or a zip; hint: set NAME_image_tag or zips.NAME."
    }

    precondition {
      condition     = var.domain == null || var.zone_id != null || var.certificate_arn != null
      error_message = "domain: expected zone_id or certificate_arn beside it, found neither; hint: zone_id makes certificate and DNS records; certificate_arn uses a certificate you have."
    }

    precondition {
      condition     = var.key_store != "kms" || !contains(var.key_policy.algorithms, "EdDSA")
      error_message = "key_store: expected ring while key_policy.algorithms has EdDSA, found kms; hint: AWS KMS does not sign with the EdDSA of tokens: use ES256 (or RS256, PS256, ES384), or key_store = \"ring\"."
    }

    precondition {
      condition     = var.key_store == "ring" || var.reserved_concurrency.issuer >= 1
      error_message = "reserved_concurrency.issuer: expected 1 or more with keys in KMS, found ${var.reserved_concurrency.issuer}; hint: KMS's quota is the account's, so the number of issuers that sign must have a bound: reserved_concurrency = { issuer = 10 }."
    }

    precondition {
      condition     = var.key_store == "ring" || var.kms_signatures.per_second * local._kms_signers < var.kms_signatures.account_quota
      error_message = "kms_signatures: expected per_second x (reserved_concurrency.issuer + 2) below account_quota, found ${var.kms_signatures.per_second} x (${var.reserved_concurrency.issuer} + 2) and ${var.kms_signatures.account_quota}; hint: lower per_second or the concurrency, or have the quota raised and set account_quota."
    }
  }
}

module "ecr" {
  source   = "./modules/ecr"
  for_each = var.create_ecr ? local._repositories : {}

  name          = each.value
  function_name = "${local._name}-${each.key}"
  force_delete  = var.ecr_force_delete
}

data "aws_ecr_repository" "this" {
  for_each = var.create_ecr ? {} : { for key in keys(local._images) : key => local._repositories[key] }

  name = each.value
}

module "certificate" {
  source   = "./modules/certificate"
  for_each = var.domain == null || var.zone_id == null || var.certificate_arn != null ? {} : { this = local._domain }

  domain_name = each.value
  zone_id     = var.zone_id
}

module "waf" {
  source   = "./modules/waf"
  for_each = var.waf.enabled ? { this = true } : {}

  name                              = local._name
  cloudwatch_retention_days         = var.log_retention_days
  common_rule_set_version           = var.waf.common_rule_set_version
  known_bad_inputs_rule_set_version = var.waf.known_bad_inputs_rule_set_version
  log_kms_key_arn                   = var.log_kms_key_arn
  rate_limit                        = var.waf.rate_limit
}

module "apigw" {
  source = "./modules/api"

  name                     = local._name
  organization_id          = var.organization_id
  associate_web_acl        = var.waf.enabled
  web_acl_arn              = one([for waf in module.waf : waf.web_acl_default_regional_arn])
  certificate_arn          = local._certificate_arn
  domain_name              = local._domain
  tld_zone_id              = var.zone_id
  issuer_lambda_invoke_arn = module.issuer_lambda.invoke_arn
  jwks_lambda_invoke_arn   = module.jwks_lambda.invoke_arn
  log_kms_key_arn          = var.log_kms_key_arn
  log_retention_days       = var.log_retention_days
  stage_name               = var.stage_name
  throttle                 = var.api_throttle
}

module "keys" {
  source = "./modules/keys"

  name                           = local._name
  mapping                        = var.mapping
  issuer_role_arn                = module.issuer_lambda.role_arn
  rotation_role_arn              = module.rotation.rotation_role_arn
  withdraw_role_arn              = module.rotation.withdraw_role_arn
  key_store                      = var.key_store
  kms_deletion_window_in_days    = var.kms_deletion_window_in_days
  secret_recovery_window_in_days = var.secret_recovery_window_in_days
}

module "issuer_lambda" {
  source = "./modules/lambda"

  name                 = "${local._name}-issuer"
  description          = "POST /token: an IAM principal's signed JWT"
  architecture         = var.architecture
  image_uri            = local._image_uris["issuer"]
  zip                  = local._zips["issuer"]
  log_kms_key_arn      = var.log_kms_key_arn
  log_retention_days   = var.log_retention_days
  reserved_concurrency = var.reserved_concurrency.issuer

  api_gateway_execution_arn = module.apigw.api_gateway_execution_arn
  api_gateway_routes        = toset(["${var.stage_name}/POST/token"])

  lambda_environment_variables = merge(
    {
      API_ID                 = module.apigw.api_id
      JWKS_SSM_PARAM         = module.keys.jwks_ssm_param_name
      JWT_ISSUER_URL         = module.apigw.issuer_url
      LOG_LEVEL              = var.log_level
      MAPPING                = "ssm:${module.keys.mapping_ssm_param_name}"
      ORGANIZATION_ID        = var.organization_id
      SIGNING_KEY_SECRET_ARN = module.keys.secret_arn
      SSO_PATH_ENFORCED      = tostring(module.apigw.sso_path_enforced)
      STAGE                  = var.stage_name
    },
    local._kms_environment,
    var.audience == null ? {} : { AUDIENCE = var.audience },
  )

  policy_statements = merge(
    {
      ReadCurrentRing = {
        actions    = ["secretsmanager:GetSecretValue"]
        resources  = [module.keys.secret_arn]
        conditions = { StringEquals = { "secretsmanager:VersionStage" = ["AWSCURRENT"] } }
      }
      DecryptRing = {
        actions    = ["kms:Decrypt"]
        resources  = [module.keys.secret_key_arn]
        conditions = { StringEquals = { "kms:EncryptionContext:SecretARN" = [module.keys.secret_arn] } }
      }
      ReadKeySetAndMapping = {
        actions   = ["ssm:GetParameter"]
        resources = [module.keys.jwks_ssm_param_arn, module.keys.mapping_ssm_param_arn]
      }
    },
    module.keys.signing_statements.read,
    module.keys.signing_statements.sign,
  )
}

module "jwks_lambda" {
  source = "./modules/lambda"

  name                 = "${local._name}-jwks"
  description          = "GET /.well-known/*: the public keys and the issuer's metadata"
  architecture         = var.architecture
  image_uri            = local._image_uris["jwks"]
  zip                  = local._zips["jwks"]
  log_kms_key_arn      = var.log_kms_key_arn
  log_retention_days   = var.log_retention_days
  reserved_concurrency = var.reserved_concurrency.jwks

  api_gateway_execution_arn = module.apigw.api_gateway_execution_arn
  api_gateway_routes        = module.apigw.public_routes

  lambda_environment_variables = {
    JWKS_MAX_AGE_SECONDS   = tostring(var.key_policy.jwks_max_age_seconds)
    JWKS_SSM_PARAM         = module.keys.jwks_ssm_param_name
    JWT_ISSUER_URL         = module.apigw.issuer_url
    LOG_LEVEL              = var.log_level
    STALE_IF_ERROR_SECONDS = tostring(var.key_policy.stale_if_error_seconds)
  }

  policy_statements = {
    ReadKeySet = {
      actions   = ["ssm:GetParameter"]
      resources = [module.keys.jwks_ssm_param_arn]
    }
  }
}

module "rotation" {
  source = "./modules/rotation"

  name               = local._name
  architecture       = var.architecture
  image_uri          = local._image_uris["rotation"]
  zip                = local._zips["rotation"]
  withdraw_image_uri = local._image_uris["withdraw"]
  withdraw_zip       = local._zips["withdraw"]
  log_kms_key_arn    = var.log_kms_key_arn
  log_retention_days = var.log_retention_days

  automatically_after_days = floor(var.key_policy.interval_seconds / 86400)
  recycle_issuers          = var.withdraw_recycles_issuers
  rotation_enabled         = var.rotation_enabled

  secret_arn         = module.keys.secret_arn
  secret_key_arn     = module.keys.secret_key_arn
  signing_statements = module.keys.signing_statements
  jwks_ssm_param_arn = module.keys.jwks_ssm_param_arn

  issuer_alias_arn     = module.issuer_lambda.alias_arn
  issuer_alias_name    = module.issuer_lambda.alias_name
  issuer_function_arn  = module.issuer_lambda.function_arn
  issuer_function_name = module.issuer_lambda.function_name

  lambda_environment_variables = merge(
    {
      ALGORITHMS                = join(",", var.key_policy.algorithms)
      JWKS_MAX_AGE_SECONDS      = tostring(var.key_policy.jwks_max_age_seconds)
      JWKS_SSM_PARAM            = module.keys.jwks_ssm_param_name
      KEY_STORE                 = var.key_store == "kms" ? "kms" : "ring"
      LOG_LEVEL                 = var.log_level
      MAX_TOKEN_TTL_SECONDS     = tostring(var.key_policy.max_token_ttl_seconds)
      RETENTION_SECONDS         = tostring(var.key_policy.retention_seconds)
      ROTATION_INTERVAL_SECONDS = tostring(var.key_policy.interval_seconds)
      ROTATION_LEAD_SECONDS     = tostring(var.key_policy.lead_seconds)
      SIGNING_KEY_SECRET_ARN    = module.keys.secret_arn
      SKEW_SECONDS              = tostring(var.key_policy.skew_seconds)
      VERIFIER_CACHE_SECONDS    = tostring(var.key_policy.verifier_cache_seconds)
    },
    local._kms_environment,
  )
}

module "alarms" {
  source = "./modules/alarms"

  name             = local._name
  alarm_topic_arns = var.alarm_topic_arns
  api_name         = module.apigw.api_name
  stage_name       = var.stage_name
  thresholds       = var.alarm_thresholds

  function_names = {
    issuer   = module.issuer_lambda.function_name
    jwks     = module.jwks_lambda.function_name
    rotation = module.rotation.rotation.function_name
    withdraw = module.rotation.withdraw.function_name
  }
  log_group_names = {
    issuer   = module.issuer_lambda.log_group_name
    jwks     = module.jwks_lambda.log_group_name
    rotation = module.rotation.rotation.log_group_name
  }

  issuer_role_arn        = module.issuer_lambda.role_arn
  jwks_ssm_param_name    = module.keys.jwks_ssm_param_name
  key_writer_role_arns   = [module.rotation.rotation_role_arn, module.rotation.withdraw_role_arn]
  kms_key_arns           = [module.keys.secret_key_arn]
  mapping_ssm_param_name = module.keys.mapping_ssm_param_name
  secret_arn             = module.keys.secret_arn
  signing_key_tag        = module.keys.signing_key_tag
}
