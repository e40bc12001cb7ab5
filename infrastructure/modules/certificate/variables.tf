variable "domain_name" {
  description = "The name the certificate is for."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^(\\*\\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain_name))
    error_message = "domain_name: expected a lower-case DNS name; hint: tokens.example.com, without https:// and without a trailing dot."
  }
}

variable "subject_alternative_names" {
  description = "Further names in the certificate, in the same zone."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "tags" {
  description = "Tags of the certificate, besides the provider's."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "zone_id" {
  description = "The Route 53 hosted zone that takes the validation records."
  type        = string
  nullable    = false
}
