variable "alias_name" {
  description = "The alias that callers use; it follows the newest published version."
  type        = string
  default     = "live"
  nullable    = false
}

variable "api_gateway_execution_arn" {
  description = "Execution ARN of the REST API (arn:…:execute-api:REGION:ACCOUNT:API) whose routes may invoke the alias. Needed with api_gateway_routes."
  type        = string
  default     = null
}

variable "api_gateway_routes" {
  description = "The routes that may invoke the alias, each STAGE/METHOD/PATH, exactly."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for route in var.api_gateway_routes : can(regex("^[A-Za-z0-9_]+/[A-Z]+/[A-Za-z0-9._/-]+$", route))])
    error_message = "api_gateway_routes: expected STAGE/METHOD/PATH without a wildcard; hint: list every route, for example v1/POST/token."
  }
}

variable "architecture" {
  description = "Instruction set of the image or zip: arm64 or x86_64."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture: expected arm64 or x86_64; hint: arm64 is what the project builds."
  }
}

variable "description" {
  description = "What the function does, for the console."
  type        = string
  default     = ""
  nullable    = false
}

variable "image_uri" {
  description = "Container image, REPOSITORY@sha256:… or REPOSITORY:TAG in a repository with immutable tags. Null when zip is given."
  type        = string
  default     = null
}

variable "lambda_environment_variables" {
  description = "The function's environment. Names and URLs only: a secret here would be in state and in the console."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for value in values(var.lambda_environment_variables) : !can(regex("PRIVATE KEY|\"pkcs8\"", value))])
    error_message = "lambda_environment_variables: found what looks like a private key; hint: store it in Secrets Manager and give its ARN."
  }
}

variable "log_kms_key_arn" {
  description = "KMS key for the log group; its policy must admit logs.REGION.amazonaws.com. Null: CloudWatch's own key."
  type        = string
  default     = null
}

variable "log_retention_days" {
  description = "How long log lines, decisions among them, are kept."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days: expected a number of days that CloudWatch Logs knows; hint: 30, 90, 365 and 731 are among them, 0 (for ever) is not accepted."
  }
}

variable "memory_mb" {
  description = "Memory, and with it CPU: below 512 the first TLS connection takes most of a second."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.memory_mb >= 128 && var.memory_mb <= 10240
    error_message = "memory_mb: expected 128 to 10240; hint: 512 is the measured default."
  }
}

variable "name" {
  description = "Name of the function, its role and (below /aws/lambda/) its log group."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9-_]{1,64}$", var.name))
    error_message = "name: expected 1 to 64 letters, digits, - or _; hint: shorten it, a role of the same name is made."
  }
}

variable "policy_statements" {
  description = "What the function may do besides writing its log and traces: Sid => actions, resources and conditions (operator => key => values). Every resource is named, but for KMS signing keys that a tag names."
  type = map(object({
    actions    = list(string)
    resources  = list(string)
    conditions = optional(map(map(list(string))), {})
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for sid in keys(var.policy_statements) : can(regex("^[A-Za-z0-9]+$", sid))])
    error_message = "policy_statements: expected letters and digits in every Sid; hint: ReadMapping, not read-mapping."
  }

  validation {
    condition = alltrue(flatten([
      for statement in values(var.policy_statements) : [for action in statement.actions : can(regex("^[a-z0-9-]+:[A-Za-z]+$", action))]
    ]))
    error_message = "policy_statements: expected every action in full (service:Action); hint: list the actions instead of a wildcard."
  }

  # A key that is made at run time has no ARN yet, only the tag that it is made with. So these three kinds of statement, and
  # no other, may name every key of the region: use of keys that carry the tag, the making of a signing key with it, and
  # that tag itself on no key of another ring. Exact values: StringEquals knows no wildcard, and "$" would be a variable.
  validation {
    condition = alltrue([
      for statement in values(var.policy_statements) : alltrue([for resource in statement.resources : can(regex("^arn:[^*?$]+$", resource))]) ? true : anytrue([
        alltrue([
          length(setsubtract(statement.actions, ["kms:DisableKey", "kms:GetPublicKey", "kms:Sign"])) == 0,
          alltrue([for resource in statement.resources : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/\\*$", resource))]),
          can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$", one(statement.conditions["StringEquals"]["aws:ResourceTag/jwt-issuer:ring"]))),
          try(statement.conditions["StringEquals"]["kms:KeyUsage"] == tolist(["SIGN_VERIFY"]), false),
        ]),
        alltrue([
          statement.actions == tolist(["kms:CreateKey"]) && statement.resources == tolist(["*"]),
          can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$", one(statement.conditions["StringEquals"]["aws:RequestTag/jwt-issuer:ring"]))),
          try(statement.conditions["ForAllValues:StringEquals"]["aws:TagKeys"] == tolist(["jwt-issuer:ring"]), false),
          try(statement.conditions["StringEquals"]["kms:KeyUsage"] == tolist(["SIGN_VERIFY"]), false),
          try(length(statement.conditions["StringEquals"]["kms:KeySpec"]) > 0 && length(setsubtract(statement.conditions["StringEquals"]["kms:KeySpec"], ["ECC_NIST_P256", "ECC_NIST_P384", "RSA_2048"])) == 0, false),
        ]),
        alltrue([
          statement.actions == tolist(["kms:TagResource"]),
          alltrue([for resource in statement.resources : can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/\\*$", resource))]),
          can(regex("^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$", one(statement.conditions["StringEquals"]["aws:RequestTag/jwt-issuer:ring"]))),
          try(statement.conditions["ForAllValues:StringEquals"]["aws:TagKeys"] == tolist(["jwt-issuer:ring"]), false),
          try(statement.conditions["StringEqualsIfExists"]["aws:ResourceTag/jwt-issuer:ring"] == statement.conditions["StringEquals"]["aws:RequestTag/jwt-issuer:ring"], false),
        ]),
      ])
    ])
    error_message = "policy_statements: expected every resource as an ARN without a wildcard (of KMS: key/* to use keys, and * to make them, only with this ring's tag as the condition); hint: pass the resource's own arn attribute, or the keys module's signing_statements."
  }

  validation {
    condition     = alltrue([for statement in values(var.policy_statements) : length(statement.actions) > 0 && length(statement.resources) > 0])
    error_message = "policy_statements: expected at least one action and one resource in every statement; hint: leave the statement out instead."
  }
}

variable "reserved_concurrency" {
  description = "Reserved concurrent executions; -1 reserves none. 0 stops the function."
  type        = number
  default     = -1
  nullable    = false

  validation {
    condition     = var.reserved_concurrency >= -1 && floor(var.reserved_concurrency) == var.reserved_concurrency
    error_message = "reserved_concurrency: expected a whole number, -1 or more; hint: -1 reserves nothing."
  }
}

variable "timeout_seconds" {
  description = "Longest run. API Gateway gives up after 29 s whatever stands here."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.timeout_seconds >= 1 && var.timeout_seconds <= 900
    error_message = "timeout_seconds: expected 1 to 900; hint: 10 for what API Gateway invokes."
  }
}

variable "zip" {
  description = "Zip with an executable named bootstrap: path (a local file), or s3_bucket and s3_key (with s3_object_version), and sha256_base64 where the digest is known. Null when image_uri is given."
  type = object({
    path              = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    sha256_base64     = optional(string)
  })
  default = null

  validation {
    condition = var.zip == null ? true : (
      (var.zip.path != null) != (var.zip.s3_bucket != null) && (var.zip.s3_bucket == null) == (var.zip.s3_key == null)
    )
    error_message = "zip: expected either path, or s3_bucket and s3_key; hint: give the one place the zip is in."
  }
}
