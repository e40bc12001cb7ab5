variable "alarm_topic_arns" {
  description = "SNS topics that are told. Their policies must admit cloudwatch.amazonaws.com and events.amazonaws.com. None: alarms change colour and tell nobody."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "api_name" {
  description = "Name of the REST API."
  type        = string
  nullable    = false
}

variable "function_names" {
  description = "The functions: issuer, jwks, rotation, withdraw => name."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(setsubtract(["issuer", "jwks", "rotation", "withdraw"], keys(var.function_names))) == 0
    error_message = "function_names: expected issuer, jwks, rotation and withdraw; hint: name all four."
  }
}

variable "issuer_role_arn" {
  description = "The role that may read the ring."
  type        = string
  nullable    = false
}

variable "jwks_ssm_param_name" {
  description = "The parameter with the published key set."
  type        = string
  nullable    = false
}

variable "key_writer_role_arns" {
  description = "The roles that may write ring and key set: rotation and withdrawal."
  type        = list(string)
  nullable    = false
}

variable "kms_key_arns" {
  description = "The KMS keys whose policies are watched."
  type        = list(string)
  nullable    = false
}

variable "log_group_names" {
  description = "Log groups with metric lines: issuer, jwks, rotation => name."
  type        = map(string)
  nullable    = false

  validation {
    condition     = length(setsubtract(["issuer", "jwks", "rotation"], keys(var.log_group_names))) == 0
    error_message = "log_group_names: expected issuer, jwks and rotation; hint: name all three."
  }
}

variable "mapping_ssm_param_name" {
  description = "The parameter with the mapping document."
  type        = string
  nullable    = false
}

variable "name" {
  description = "Prefix of every name, and the namespace of this environment's metrics."
  type        = string
  nullable    = false
}

variable "secret_arn" {
  description = "The secret with the key ring."
  type        = string
  nullable    = false
}

variable "signing_key_tag" {
  description = "The tag that KMS signing keys carry (key, value): the keys module's signing_key_tag. Null: there are none."
  type = object({
    key   = string
    value = string
  })
  default = null
}

variable "stage_name" {
  description = "Stage of the REST API."
  type        = string
  nullable    = false
}

variable "thresholds" {
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

  validation {
    condition     = var.thresholds.failures >= 1 && var.thresholds.refusals >= 1
    error_message = "thresholds: expected failures and refusals of at least 1; hint: 0 would alarm for ever."
  }
}
