variable "associate_web_acl" {
  description = "Whether web_acl_arn is put in front of the stage. Apart from it, because the ARN is not known while planning."
  type        = bool
  default     = true
  nullable    = false
}

variable "certificate_arn" {
  description = "Certificate for domain_name, in the API's own region."
  type        = string
  default     = null
}

variable "domain_name" {
  description = "Name that callers and verifiers use. Null: the stage's own URL, which dies with the API."
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null ? true : can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain_name))
    error_message = "domain_name: expected a lower-case DNS name; hint: tokens.example.com, without https:// and without a trailing dot."
  }
}

variable "integration_timeout_milliseconds" {
  description = "How long API Gateway waits for a function; longer than the function's own timeout."
  type        = number
  default     = 12000
  nullable    = false

  validation {
    condition     = var.integration_timeout_milliseconds >= 50 && var.integration_timeout_milliseconds <= 29000
    error_message = "integration_timeout_milliseconds: expected 50 to 29000; hint: 12000, a little more than the functions' 10 s."
  }
}

variable "issuer_lambda_invoke_arn" {
  description = "What POST /token calls: the invoke ARN of an alias."
  type        = string
  nullable    = false
}

variable "jwks_lambda_invoke_arn" {
  description = "What GET and HEAD /.well-known/* call: the invoke ARN of an alias."
  type        = string
  nullable    = false
}

variable "log_kms_key_arn" {
  description = "KMS key for the access log; null: CloudWatch's own key."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "How long access lines are kept."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: expected a number of days that CloudWatch Logs knows; hint: 30, 90, 365 and 731 are among them."
  }
}

variable "name" {
  description = "Name of the API."
  type        = string
  nullable    = false
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

variable "stage_name" {
  description = "Name of the stage."
  type        = string
  default     = "v1"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_]{1,128}$", var.stage_name)) && var.stage_name != "test-invoke-stage"
    error_message = "stage_name: expected letters, digits and _; hint: v1."
  }
}

variable "throttle" {
  description = "Requests per second (rate) and at once (burst), over all callers."
  type = object({
    burst = optional(number, 200)
    rate  = optional(number, 100)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.throttle.rate >= 1 && var.throttle.burst >= 1
    error_message = "throttle: expected a rate and a burst of at least 1; hint: 0 would refuse every request, { rate = 100, burst = 200 } is the default."
  }
}

variable "tld_zone_id" {
  description = "Route 53 hosted zone that takes the alias record of domain_name. Null: the record is made elsewhere."
  type        = string
  default     = null
}

variable "web_acl_arn" {
  description = "Web ACL in front of the stage. Needed unless associate_web_acl is false."
  type        = string
  default     = null
}
