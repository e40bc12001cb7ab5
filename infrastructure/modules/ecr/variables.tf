variable "force_delete" {
  description = "Whether destroying the repository deletes its images; false refuses while there are any."
  type        = bool
  default     = false
  nullable    = false
}

variable "function_name" {
  description = "The Lambda function that may pull the images."
  type        = string
  nullable    = false
}

variable "keep_images" {
  description = "How many images are kept; older ones expire. The deployed one must be among them."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.keep_images >= 2 && floor(var.keep_images) == var.keep_images
    error_message = "keep_images: expected a whole number, 2 or more; hint: the deployed image and one to roll back to."
  }
}

variable "name" {
  description = "Name of the repository."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", var.name)) && length(var.name) <= 256
    error_message = "name: expected lower-case letters, digits and single . _ / - between them; hint: team/jwt-issuer."
  }
}
