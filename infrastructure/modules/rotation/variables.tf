variable "architecture" {
  description = "Instruction set of the images or zips: arm64 or x86_64."
  type        = string
  default     = "arm64"
  nullable    = false
}

variable "automatically_after_days" {
  description = "Days from one rotation to the next: the interval of the key policy."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.automatically_after_days >= 1 && var.automatically_after_days <= 1000 && floor(var.automatically_after_days) == var.automatically_after_days
    error_message = "automatically_after_days: expected a whole number from 1 to 1000; hint: 30."
  }
}

variable "image_uri" {
  description = "Container image of the rotation function. Null when zip is given."
  type        = string
  default     = null
}

variable "issuer_alias_arn" {
  description = "The issuer's alias, which a withdrawal moves to a fresh version."
  type        = string
  nullable    = false
}

variable "issuer_alias_name" {
  description = "Name of the issuer's alias."
  type        = string
  nullable    = false
}

variable "issuer_function_arn" {
  description = "The issuer's function."
  type        = string
  nullable    = false
}

variable "issuer_function_name" {
  description = "Name of the issuer's function."
  type        = string
  nullable    = false
}

variable "jwks_ssm_param_arn" {
  description = "The parameter with the published key set."
  type        = string
  nullable    = false
}

variable "lambda_environment_variables" {
  description = "Environment of both functions."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "log_kms_key_arn" {
  description = "KMS key for the log groups; null: CloudWatch's own key."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "How long log lines are kept."
  type        = number
  default     = 365
  nullable    = false
}

variable "name" {
  description = "Prefix of every name."
  type        = string
  nullable    = false
}

variable "recycle_issuers" {
  description = "Whether the withdrawal may publish a new version of the issuer and move its alias, so that warm issuers end at once instead of following within five minutes."
  type        = bool
  default     = false
  nullable    = false
}

variable "rotation_enabled" {
  description = "Whether Secrets Manager rotates on a schedule. False only where nothing can run the function, as on an AWS emulator."
  type        = bool
  default     = true
  nullable    = false
}

variable "secret_arn" {
  description = "The secret with the key ring."
  type        = string
  nullable    = false
}

variable "secret_key_arn" {
  description = "The KMS key that encrypts the secret."
  type        = string
  nullable    = false
}

variable "signing_statements" {
  description = "What the functions may do with KMS signing keys: the keys module's signing_statements."
  type = object({
    disable = optional(map(object({ actions = list(string), resources = list(string), conditions = map(map(list(string))) })), {})
    make    = optional(map(object({ actions = list(string), resources = list(string), conditions = map(map(list(string))) })), {})
    read    = optional(map(object({ actions = list(string), resources = list(string), conditions = map(map(list(string))) })), {})
    sign    = optional(map(object({ actions = list(string), resources = list(string), conditions = map(map(list(string))) })), {})
  })
  default  = {}
  nullable = false
}

variable "withdraw_image_uri" {
  description = "Container image of the withdrawal function. Null when withdraw_zip is given."
  type        = string
  default     = null
}

variable "withdraw_zip" {
  description = "Zip of the withdrawal function, as zip of the lambda module."
  type = object({
    path              = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  })
  default = null
}

variable "zip" {
  description = "Zip of the rotation function, as zip of the lambda module."
  type = object({
    path              = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  })
  default = null
}
