terraform {
  required_version = ">= 1.8"

  # Which bucket, key and role: vars/*.backend.tfvars, given to init with -backend-config.
  backend "s3" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7"
    }
  }
}

provider "aws" {
  region = var.region

  dynamic "assume_role" {
    for_each = var.role_arn == null ? {} : { this = var.role_arn }

    content {
      role_arn     = assume_role.value
      session_name = var.name
    }
  }

  default_tags {
    tags = merge({ Application = "jwt-issuer", Environment = var.name }, var.tags)
  }
}
