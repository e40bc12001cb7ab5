variable "alarm_thresholds" {
  description = "When alarms rise: failures and refusals in 5 minutes, ages in seconds, and the days before the next rotation is due below which it is overdue (negative: that many days late)."
  type = object({
    failures            = optional(number, 5)
    key_days_left       = optional(number, -1)
    mapping_age_seconds = optional(number, 900)
    refusals            = optional(number, 100)
    ring_age_seconds    = optional(number, 900)
  })
  default  = {}
  nullable = false
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms and tampering events go to. Their policies must admit cloudwatch.amazonaws.com and events.amazonaws.com."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", arn))])
    error_message = "alarm_topic_arns: expected ARNs of SNS topics; hint: arn:aws:sns:REGION:ACCOUNT:NAME."
  }
}

variable "api_throttle" {
  description = "Requests per second (rate) and at once (burst), over all callers of the API."
  type = object({
    burst = optional(number, 200)
    rate  = optional(number, 100)
  })
  default  = {}
  nullable = false
}

variable "architecture" {
  description = "Instruction set of the images or zips: arm64 or x86_64."
  type        = string
  default     = "arm64"
  nullable    = false
}

variable "audience" {
  description = "AUDIENCE of the issuer: the audience when a caller names none. Null: the mapping document's own default."
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "A certificate for domain, in var.region. Null with zone_id: one is made."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null ? true : can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn: expected the ARN of an ACM certificate; hint: arn:aws:acm:REGION:ACCOUNT:certificate/ID, in the same region as the API."
  }
}

variable "create_api_gateway_account_role" {
  description = "Whether this environment owns the account's API Gateway logging role. Once per account and region; without one the stage cannot log."
  type        = bool
  default     = false
  nullable    = false
}

variable "create_ecr" {
  description = "Whether the image repositories are made here. False: they exist (images), or are not used (zips)."
  type        = bool
  default     = false
  nullable    = false
}

variable "domain" {
  description = "Name that callers and verifiers use, and the host of the iss claim. Null: the stage's own URL, which dies with the API."
  type        = string
  default     = null
}

variable "ecr_force_delete" {
  description = "Whether destroying deletes repositories that still hold images."
  type        = bool
  default     = false
  nullable    = false
}

variable "issuer_ecr_name" {
  description = "Repository of the issuer's image. Null: NAME-issuer."
  type        = string
  default     = null
}

variable "issuer_image_tag" {
  description = "Tag or sha256: digest of the issuer's image. Null: zips.issuer."
  type        = string
  default     = null

  validation {
    condition     = var.issuer_image_tag == null ? true : can(regex("^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9._-]{0,127})$", var.issuer_image_tag)) && var.issuer_image_tag != "latest"
    error_message = "issuer_image_tag: expected a tag other than latest, or sha256: and 64 hex digits; hint: the version you pushed."
  }
}

variable "jwks_ecr_name" {
  description = "Repository of the jwks image. Null: NAME-jwks."
  type        = string
  default     = null
}

variable "jwks_image_tag" {
  description = "Tag or sha256: digest of the jwks image. Null: zips.jwks."
  type        = string
  default     = null

  validation {
    condition     = var.jwks_image_tag == null ? true : can(regex("^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9._-]{0,127})$", var.jwks_image_tag)) && var.jwks_image_tag != "latest"
    error_message = "jwks_image_tag: expected a tag other than latest, or sha256: and 64 hex digits; hint: the version you pushed."
  }
}

variable "key_policy" {
  description = "When keys are made, sign and disappear. Seconds; algorithms are RS256, PS256, ES256, ES384, EdDSA, the first is the default. verifier_cache is the slowest verifier's (Snowflake 1 h, EKS-style 7 days); stale_if_error is how long the key set is served while its store fails."
  type = object({
    algorithms             = optional(list(string), ["RS256"])
    interval_seconds       = optional(number, 2592000)
    jwks_max_age_seconds   = optional(number, 300)
    lead_seconds           = optional(number, 86400)
    max_token_ttl_seconds  = optional(number, 3600)
    retention_seconds      = optional(number, 172800)
    skew_seconds           = optional(number, 60)
    stale_if_error_seconds = optional(number, 3600)
    verifier_cache_seconds = optional(number, 3600)
  })
  default  = {}
  nullable = false

  validation {
    condition     = length(var.key_policy.algorithms) > 0 && length(distinct(var.key_policy.algorithms)) == length(var.key_policy.algorithms) && alltrue([for algorithm in var.key_policy.algorithms : contains(["RS256", "PS256", "ES256", "ES384", "EdDSA"], algorithm)])
    error_message = "key_policy.algorithms: expected RS256, PS256, ES256, ES384 or EdDSA, each once; hint: [\"RS256\"] is what Snowflake takes."
  }

  validation {
    condition     = var.key_policy.interval_seconds > var.key_policy.lead_seconds && var.key_policy.interval_seconds >= 86400 && var.key_policy.interval_seconds % 86400 == 0
    error_message = "key_policy.interval_seconds: expected whole days and more than lead_seconds; hint: Secrets Manager rotates by the day; 2592000 is 30 days."
  }

  # The key set's function serves what it read up to 60 s ago.
  validation {
    condition     = var.key_policy.lead_seconds >= 60 + var.key_policy.stale_if_error_seconds + var.key_policy.jwks_max_age_seconds + var.key_policy.verifier_cache_seconds + var.key_policy.skew_seconds
    error_message = "key_policy.lead_seconds: expected lead >= 60 + stale_if_error + jwks_max_age + verifier_cache + skew, or a verifier meets a key it cannot know; hint: raise lead_seconds."
  }

  validation {
    condition     = var.key_policy.retention_seconds >= ceil(var.key_policy.lead_seconds / 2) + var.key_policy.max_token_ttl_seconds + 60 + var.key_policy.jwks_max_age_seconds + 2 * var.key_policy.skew_seconds
    error_message = "key_policy.retention_seconds: expected retention >= lead / 2 + max_token_ttl + 60 + jwks_max_age + 2 skew, or tokens outlive their key; hint: raise retention_seconds."
  }

  validation {
    condition     = var.key_policy.jwks_max_age_seconds >= 0 && var.key_policy.jwks_max_age_seconds <= 3600 && var.key_policy.stale_if_error_seconds >= 0 && var.key_policy.stale_if_error_seconds <= 3600
    error_message = "key_policy: expected jwks_max_age_seconds and stale_if_error_seconds of 0 to 3600; hint: the function refuses more."
  }
}

variable "key_store" {
  description = "Where new private halves live: ring (in the secret), kms (in AWS KMS, made by the rotation), or kms-to-ring (new ones in the secret, while those in KMS still sign)."
  type        = string
  default     = "ring"
  nullable    = false

  validation {
    condition     = contains(["ring", "kms", "kms-to-ring"], var.key_store)
    error_message = "key_store: expected ring, kms or kms-to-ring; hint: ring keeps private keys in the secret, kms in AWS KMS; from kms back to ring goes by kms-to-ring."
  }
}

variable "kms_deletion_window_in_days" {
  description = "How long the deleted KMS key of the secret can still be saved: 7 to 30."
  type        = number
  default     = 30
  nullable    = false
}

variable "kms_signatures" {
  description = "With keys in KMS: per_second is what each process of issuer, rotation and withdrawal may ask (KMS_SIGNS_PER_SECOND), account_quota what KMS grants the account per second for these keys in this region (Service Quotas, \"Cryptographic operations (RSA)\" or \"(ECC)\"), less what others in the account need."
  type = object({
    account_quota = optional(number, 300)
    per_second    = optional(number, 20)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.kms_signatures.per_second >= 1 && var.kms_signatures.per_second <= 1000 && floor(var.kms_signatures.per_second) == var.kms_signatures.per_second
    error_message = "kms_signatures.per_second: expected a whole number from 1 to 1000; hint: 20."
  }

  validation {
    condition     = var.kms_signatures.account_quota >= 1
    error_message = "kms_signatures.account_quota: expected at least 1; hint: the account's number in Service Quotas, less what others need."
  }
}

variable "log_kms_key_arn" {
  description = "KMS key for every log group; its policy must admit logs.REGION.amazonaws.com. Null: CloudWatch's own key."
  type        = string
  default     = null
}

variable "log_level" {
  description = "LOG_LEVEL of the functions: error, warn, info, debug or trace."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["error", "warn", "info", "debug", "trace"], var.log_level)
    error_message = "log_level: expected error, warn, info, debug or trace; hint: decisions are logged at info."
  }
}

variable "log_retention_days" {
  description = "How long logs are kept, decisions among them: a number of days that CloudWatch Logs knows."
  type        = number
  default     = 365
  nullable    = false
}

variable "mapping" {
  description = "The mapping document itself (TOML, at most 8 KB): who may have which token. TF_VAR_mapping=\"$(cat mapping.toml)\"."
  type        = string
  nullable    = false
}

variable "name" {
  description = "Prefix of every name: one environment. Two environments of an account have two."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name)) && length(var.name) <= 40 && !can(regex("^(aws|ssm)", var.name))
    error_message = "name: expected 2 to 40 lower-case letters, digits and hyphens, not beginning with aws or ssm (reserved for parameters); hint: jwt-issuer-prod."
  }
}

variable "organization_id" {
  description = "The AWS organization whose principals may ask for tokens."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^o-[a-z0-9]{10,32}$", var.organization_id))
    error_message = "organization_id: expected o- and 10 to 32 lower-case letters and digits; hint: aws organizations describe-organization --query Organization.Id."
  }
}

variable "region" {
  description = "Where everything is made."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: expected a region's name; hint: eu-west-1."
  }
}

variable "reserved_concurrency" {
  description = "Reserved concurrent executions of issuer and jwks; -1 reserves none."
  type = object({
    issuer = optional(number, -1)
    jwks   = optional(number, -1)
  })
  default  = {}
  nullable = false
}

variable "role_arn" {
  description = "Role that deploys. Null: the caller's own credentials."
  type        = string
  default     = null

  validation {
    condition     = var.role_arn == null ? true : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", var.role_arn))
    error_message = "role_arn: expected the ARN of an IAM role; hint: arn:aws:iam::ACCOUNT:role/NAME, or null."
  }
}

variable "rotation_ecr_name" {
  description = "Repository of the rotation image. Null: NAME-rotation."
  type        = string
  default     = null
}

variable "rotation_enabled" {
  description = "Whether Secrets Manager rotates on a schedule, the first time at once. False only where nothing can run the function, as on an AWS emulator: no key exists then until the rotation is run otherwise."
  type        = bool
  default     = true
  nullable    = false
}

variable "rotation_image_tag" {
  description = "Tag or sha256: digest of the rotation image. Null: zips.rotation."
  type        = string
  default     = null

  validation {
    condition     = var.rotation_image_tag == null ? true : can(regex("^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9._-]{0,127})$", var.rotation_image_tag)) && var.rotation_image_tag != "latest"
    error_message = "rotation_image_tag: expected a tag other than latest, or sha256: and 64 hex digits; hint: the version you pushed."
  }
}

variable "secret_recovery_window_in_days" {
  description = "How long a deleted key ring can be restored, and its name not be used again: 7 to 30, or 0 to delete at once."
  type        = number
  default     = 30
  nullable    = false
}

variable "snowflake" {
  description = "What the output snowflake_sql says; null: no SQL. audience_list is in addition to the account's own URL."
  type = object({
    any_role_mode           = optional(string, "DISABLE")
    audience_list           = optional(list(string), [])
    integration_name        = optional(string, "JWT_ISSUER")
    scope_mapping_attribute = optional(string, "scp")
  })
  default = null

  validation {
    condition     = var.snowflake == null ? true : contains(["DISABLE", "ENABLE", "ENABLE_FOR_PRIVILEGE"], var.snowflake.any_role_mode)
    error_message = "snowflake.any_role_mode: expected DISABLE, ENABLE or ENABLE_FOR_PRIVILEGE; hint: DISABLE, unless rules grant session:role-any."
  }

  validation {
    condition     = var.snowflake == null ? true : can(regex("^[A-Z][A-Z0-9_$]{0,254}$", var.snowflake.integration_name))
    error_message = "snowflake.integration_name: expected an upper-case identifier; hint: JWT_ISSUER."
  }

  # What is pasted into a privileged worksheet must not be able to end its own quotes.
  validation {
    condition     = var.snowflake == null ? true : alltrue([for audience in var.snowflake.audience_list : can(regex("^[A-Za-z0-9:/._~?&=%+-]+$", audience))])
    error_message = "snowflake.audience_list: expected URLs without quotes, backslashes and spaces; hint: https://ACCOUNT.snowflakecomputing.com."
  }

  validation {
    condition     = var.snowflake == null ? true : contains(["scp", "scope"], var.snowflake.scope_mapping_attribute)
    error_message = "snowflake.scope_mapping_attribute: expected scp or scope; hint: scp, unless the audience sets scope_claim = \"scope\"."
  }
}

variable "stage_name" {
  description = "Stage of the API; part of the URL where there is no domain."
  type        = string
  default     = "v1"
  nullable    = false
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "waf" {
  description = "Web ACL in front of the API: rate_limit is requests of one address in 5 minutes; versions of the managed rule sets, null for AWS's default."
  type = object({
    common_rule_set_version           = optional(string)
    enabled                           = optional(bool, true)
    known_bad_inputs_rule_set_version = optional(string)
    rate_limit                        = optional(number, 2000)
  })
  default  = {}
  nullable = false
}

variable "withdraw_ecr_name" {
  description = "Repository of the withdrawal image. Null: NAME-withdraw."
  type        = string
  default     = null
}

variable "withdraw_image_tag" {
  description = "Tag or sha256: digest of the withdrawal image. Null: zips.withdraw."
  type        = string
  default     = null

  validation {
    condition     = var.withdraw_image_tag == null ? true : can(regex("^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9._-]{0,127})$", var.withdraw_image_tag)) && var.withdraw_image_tag != "latest"
    error_message = "withdraw_image_tag: expected a tag other than latest, or sha256: and 64 hex digits; hint: the version you pushed."
  }
}

variable "withdraw_recycles_issuers" {
  description = "Whether the withdrawal may replace warm issuers at once, which takes the right to change the issuer's settings. False: they follow within five minutes."
  type        = bool
  default     = false
  nullable    = false
}

variable "zips" {
  description = "Zips instead of images: issuer, jwks, rotation, withdraw => path, or s3_bucket and s3_key (s3_object_version), and sha256_base64 where known. Each holds an executable named bootstrap."
  type = map(object({
    path              = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(setsubtract(keys(var.zips), ["issuer", "jwks", "rotation", "withdraw"])) == 0
    error_message = "zips: expected issuer, jwks, rotation and withdraw; hint: remove the other names."
  }
}

variable "zone_id" {
  description = "Route 53 hosted zone of domain: takes its alias record and, without certificate_arn, the certificate's validation."
  type        = string
  default     = null
}
