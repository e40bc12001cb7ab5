variable "cloudwatch_logging_enabled" {
  description = "Whether requests are logged, credentials redacted."
  type        = bool
  default     = true
  nullable    = false
}

variable "cloudwatch_metrics_enabled" {
  description = "Whether each rule counts what it matched."
  type        = bool
  default     = true
  nullable    = false
}

variable "cloudwatch_retention_days" {
  description = "How long the request log is kept."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.cloudwatch_retention_days)
    error_message = "cloudwatch_retention_days: expected a number of days that CloudWatch Logs knows; hint: 30, 90, 365 and 731 are among them."
  }
}

variable "common_rule_set_version" {
  description = "Version of AWSManagedRulesCommonRuleSet; null follows AWS's default version."
  type        = string
  default     = null
}

variable "default_action" {
  description = "What happens to a request that no rule matched: allow or block."
  type        = string
  default     = "allow"
  nullable    = false

  validation {
    condition     = contains(["allow", "block"], var.default_action)
    error_message = "default_action: expected allow or block; hint: block refuses everything that no rule admits, which here is everything."
  }
}

variable "known_bad_inputs_rule_set_version" {
  description = "Version of AWSManagedRulesKnownBadInputsRuleSet; null follows AWS's default version."
  type        = string
  default     = null
}

variable "log_kms_key_arn" {
  description = "KMS key for the log group; null: CloudWatch's own key."
  type        = string
  default     = null
}

variable "name" {
  description = "Prefix of every name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,64}$", var.name))
    error_message = "name: expected 1 to 64 letters, digits and hyphens; hint: the environment's name, for example jwt-issuer-prod."
  }
}

variable "rate_limit" {
  description = "Requests that one address may make in 5 minutes before it gets 429. Many callers share one address behind NAT."
  type        = number
  default     = 2000
  nullable    = false

  validation {
    condition     = var.rate_limit >= 10 && var.rate_limit <= 2000000000
    error_message = "rate_limit: expected 10 to 2000000000 requests in 5 minutes; hint: 2000 is about 7 a second."
  }
}

variable "tags" {
  description = "Tags of the web ACL, besides the provider's."
  type        = map(string)
  default     = {}
  nullable    = false
}
