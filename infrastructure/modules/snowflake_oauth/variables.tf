variable "any_role_mode" {
  description = "Whether a session may use a role that the token does not name: DISABLE, ENABLE or ENABLE_FOR_PRIVILEGE."
  type        = string
  default     = "DISABLE"
  nullable    = false

  validation {
    condition     = contains(["DISABLE", "ENABLE", "ENABLE_FOR_PRIVILEGE"], var.any_role_mode)
    error_message = "any_role_mode: expected DISABLE, ENABLE or ENABLE_FOR_PRIVILEGE; hint: DISABLE, unless rules grant session:role-any."
  }
}

variable "audience_list" {
  description = "Audiences that Snowflake accepts besides its account URL. Compared case-sensitively."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for audience in var.audience_list : can(regex("^[!-~]+$", audience)) && !strcontains(audience, "'")])
    error_message = "audience_list: expected printable ASCII without spaces and quotes; hint: https://ACCOUNT.snowflakecomputing.com."
  }
}

variable "comment" {
  description = "Comment of the integration."
  type        = string
  default     = "Tokens of jwt-issuer"
  nullable    = false
}

variable "issuer_url" {
  description = "The iss claim, exactly as tokens carry it: the output issuer_url of the root."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[!-~]+$", var.issuer_url)) && !endswith(var.issuer_url, "/")
    error_message = "issuer_url: expected an https URL without a trailing slash; hint: take the root's output issuer_url as it is."
  }
}

variable "jws_keys_url" {
  description = "Where Snowflake fetches the public keys: the output jwks_uri of the root."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[!-~]+$", var.jws_keys_url))
    error_message = "jws_keys_url: expected an https URL; hint: take the root's output jwks_uri as it is."
  }
}

variable "name" {
  description = "Name of the security integration."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Z][A-Z0-9_$]{0,254}$", var.name))
    error_message = "name: expected an upper-case Snowflake identifier; hint: JWT_ISSUER."
  }
}

variable "scope_mapping_attribute" {
  description = "The claim that names roles: scp (a list, what the profile snowflake-external-oauth writes) or scope."
  type        = string
  default     = "scp"
  nullable    = false

  validation {
    condition     = contains(["scp", "scope"], var.scope_mapping_attribute)
    error_message = "scope_mapping_attribute: expected scp or scope; hint: scp, unless the audience sets scope_claim = \"scope\"."
  }
}
