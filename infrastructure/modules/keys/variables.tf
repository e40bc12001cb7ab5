variable "issuer_role_arn" {
  description = "Role that reads the ring and signs."
  type        = string
  nullable    = false
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
  description = "How long a deleted KMS key can still be saved."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.kms_deletion_window_in_days >= 7 && var.kms_deletion_window_in_days <= 30
    error_message = "kms_deletion_window_in_days: expected 7 to 30; hint: 30, unless the environment is thrown away often."
  }
}

variable "mapping" {
  description = "The mapping document (TOML): who may have which token."
  type        = string
  nullable    = false

  # length() counts characters; base64 counts bytes.
  validation {
    condition     = length(base64encode(var.mapping)) / 4 * 3 - (length(base64encode(var.mapping)) - length(replace(base64encode(var.mapping), "=", ""))) <= 8192
    error_message = "mapping: expected at most 8192 bytes, what an advanced parameter holds; hint: use globs or lists of accounts, or drop comments."
  }

  validation {
    condition     = can(regex("(?m)^\\s*\\[\\[\\s*rule\\s*\\]\\]", var.mapping))
    error_message = "mapping: expected at least one [[rule]]; hint: without a rule nobody gets a token; give the document itself, not its path."
  }
}

variable "name" {
  description = "Prefix of every name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*[a-z0-9]$", var.name)) && length(var.name) <= 40 && !can(regex("^(aws|ssm)", var.name))
    error_message = "name: expected 2 to 40 lower-case letters, digits and hyphens, not beginning with aws or ssm (reserved for parameters); hint: jwt-issuer-prod."
  }
}

variable "rotation_role_arn" {
  description = "Role that writes ring and key set."
  type        = string
  nullable    = false
}

variable "secret_recovery_window_in_days" {
  description = "How long a deleted secret can be restored, and its name not be used again: 7 to 30, or 0 to delete at once."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.secret_recovery_window_in_days == 0 || (var.secret_recovery_window_in_days >= 7 && var.secret_recovery_window_in_days <= 30)
    error_message = "secret_recovery_window_in_days: expected 0, or 7 to 30; hint: 0 only for environments that are thrown away."
  }
}

variable "withdraw_role_arn" {
  description = "Role that withdraws compromised keys."
  type        = string
  nullable    = false
}
