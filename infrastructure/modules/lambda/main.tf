locals {
  _environment = var.lambda_environment_variables

  # A file on disk is watched by its digest; for a zip in S3 the digest or the object's version says that it changed.
  _zip_hash = (
    var.zip == null ? null :
    var.zip.sha256_base64 != null ? var.zip.sha256_base64 :
    var.zip.path != null ? filebase64sha256(var.zip.path) : null
  )
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_115:reserved concurrency is a variable; a number nobody asked for would throttle tokens or starve the account
  #checkov:skip=CKV_AWS_116:invoked synchronously (or by Secrets Manager, which repeats), so no event can be lost to a queue
  #checkov:skip=CKV_AWS_117:talks to AWS APIs only; a VPC would add an outage source (endpoints) and hide nothing
  #checkov:skip=CKV_AWS_173:the environment holds names and URLs, never a secret; Lambda encrypts it with its own key
  #checkov:skip=CKV_AWS_272:what runs is pinned by digest or immutable tag; a signing profile is the deployer's choice
  function_name = var.name
  description   = var.description
  role          = aws_iam_role.this.arn

  package_type      = var.zip == null ? "Image" : "Zip"
  image_uri         = var.image_uri
  filename          = var.zip == null ? null : var.zip.path
  s3_bucket         = var.zip == null ? null : var.zip.s3_bucket
  s3_key            = var.zip == null ? null : var.zip.s3_key
  s3_object_version = var.zip == null ? null : var.zip.s3_object_version
  source_code_hash  = local._zip_hash
  handler           = var.zip == null ? null : "bootstrap"
  runtime           = var.zip == null ? null : "provided.al2023"
  architectures     = [var.architecture]

  memory_size                    = var.memory_mb
  timeout                        = var.timeout_seconds
  reserved_concurrent_executions = var.reserved_concurrency
  publish                        = true

  tracing_config {
    mode = "Active"
  }

  dynamic "environment" {
    for_each = length(local._environment) == 0 ? {} : { this = local._environment }

    content {
      variables = environment.value
    }
  }

  lifecycle {
    # A withdrawal recycles warm issuers by changing the description and publishing a version (see modules/rotation).
    ignore_changes = [description]

    precondition {
      condition     = (var.zip == null) != (var.image_uri == null)
      error_message = "${var.name}: expected exactly one of image_uri and zip; hint: set the one you built and leave the other null."
    }
  }

  # Without the rights and the log group the first invocations would fail, or log into a group that never expires.
  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

resource "aws_lambda_alias" "this" {
  name             = var.alias_name
  description      = "What API Gateway invokes"
  function_name    = aws_lambda_function.this.function_name
  function_version = aws_lambda_function.this.version
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:log lines never hold a token, key or claim set (docs/SECURITY-MODEL.md); log_kms_key_arn takes a key where a policy asks for one
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
}
