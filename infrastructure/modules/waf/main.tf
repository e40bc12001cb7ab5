locals {
  # Priorities follow the order of the keys, so they never change when a version does.
  _managed = {
    "10-common" = {
      rule_set = "AWSManagedRulesCommonRuleSet"
      version  = var.common_rule_set_version
      # Machines without a user agent are ordinary callers here.
      count = ["NoUserAgent_HEADER"]
    }
    "20-known-bad-inputs" = {
      rule_set = "AWSManagedRulesKnownBadInputsRuleSet"
      version  = var.known_bad_inputs_rule_set_version
      count    = []
    }
    "30-ip-reputation" = {
      rule_set = "AWSManagedRulesAmazonIpReputationList"
      version  = null
      count    = []
    }
  }
}

resource "aws_wafv2_web_acl" "this" {
  #checkov:skip=CKV_AWS_192:AWSManagedRulesKnownBadInputsRuleSet is rule 20, in a dynamic block that checkov does not expand
  name        = "${var.name}-regional"
  description = "In front of ${var.name}"
  scope       = "REGIONAL"
  tags        = var.tags

  default_action {
    dynamic "allow" {
      for_each = var.default_action == "allow" ? { this = true } : {}
      content {}
    }

    dynamic "block" {
      for_each = var.default_action == "block" ? { this = true } : {}
      content {}
    }
  }

  # First, so that a flood is not paid for rule by rule.
  rule {
    name     = "rate"
    priority = 0

    action {
      block {
        custom_response {
          response_code = 429

          response_header {
            name  = "Retry-After"
            value = "60"
          }
        }
      }
    }

    statement {
      rate_based_statement {
        aggregate_key_type    = "IP"
        evaluation_window_sec = 300
        limit                 = var.rate_limit
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = var.cloudwatch_metrics_enabled
      metric_name                = "${var.name}-rate"
      sampled_requests_enabled   = true
    }
  }

  dynamic "rule" {
    for_each = local._managed

    content {
      name     = rule.value.rule_set
      priority = tonumber(split("-", rule.key)[0])

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.value.rule_set
          version     = rule.value.version

          dynamic "rule_action_override" {
            for_each = toset(rule.value.count)

            content {
              name = rule_action_override.value

              action_to_use {
                count {}
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = var.cloudwatch_metrics_enabled
        metric_name                = "${var.name}-${rule.key}"
        sampled_requests_enabled   = true
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = var.cloudwatch_metrics_enabled
    metric_name                = "${var.name}-regional"
    sampled_requests_enabled   = true
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:credentials are redacted before they are logged; log_kms_key_arn takes a key where a policy asks for one
  for_each = var.cloudwatch_logging_enabled ? { this = true } : {}

  # AWS WAF writes only to groups whose name begins like this.
  name              = "aws-waf-logs-${var.name}"
  retention_in_days = var.cloudwatch_retention_days
  kms_key_id        = var.log_kms_key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "this" {
  for_each = aws_cloudwatch_log_group.this

  resource_arn            = aws_wafv2_web_acl.this.arn
  log_destination_configs = [each.value.arn]

  # Signatures, session tokens, proofs and key pairs have no place in a log.
  dynamic "redacted_fields" {
    for_each = toset(["authorization", "dpop", "x-amz-security-token"])

    content {
      single_header {
        name = redacted_fields.value
      }
    }
  }
}
