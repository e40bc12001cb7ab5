# The functions write their metrics as log lines, in one namespace for all environments of an account. The filters read
# the same numbers from this environment's own log groups, so that two environments do not hide each other's trouble.
locals {
  _gauges = {
    Failed          = "issuer"
    ForeignKeys     = "rotation"
    KeyDaysLeft     = "issuer"
    MappingAge      = "issuer"
    MappingLastGood = "issuer"
    Refused         = "issuer"
    RingAge         = "issuer"
    RingLastGood    = "issuer"
    KeySetAge       = "jwks"
    LastGood        = "jwks"
    Poisoned        = "jwks"
    Unavailable     = "jwks"
  }

  _own = {
    issuer-failures = {
      metric = "Failed", statistic = "Sum", threshold = var.thresholds.failures, periods = 1
      why    = "tokens are refused for reasons of ours (503): no usable key, store down, mapping unusable"
    }
    refusals = {
      metric = "Refused", statistic = "Sum", threshold = var.thresholds.refusals, periods = 1
      why    = "many callers are refused: a mapping that lost a rule, or somebody trying"
    }
    ring-last-good = {
      metric = "RingLastGood", statistic = "Maximum", threshold = 1, periods = 2
      why    = "the issuer works on its last good ring; it stops after half the lead"
    }
    mapping-last-good = {
      metric = "MappingLastGood", statistic = "Maximum", threshold = 1, periods = 2
      why    = "the mapping document cannot be read or does not compile; the issuer stops after an hour"
    }
    ring-age = {
      metric = "RingAge", statistic = "Maximum", threshold = var.thresholds.ring_age_seconds, periods = 2
      why    = "the ring was not read again when it should have been"
    }
    mapping-age = {
      metric = "MappingAge", statistic = "Maximum", threshold = var.thresholds.mapping_age_seconds, periods = 2
      why    = "the mapping document was not read again when it should have been"
    }
    foreign-keys = {
      metric = "ForeignKeys", statistic = "Maximum", threshold = 1, periods = 1
      why    = "the published set holds a key that is in no ring of ours: somebody may be forging tokens"
    }
    key-set-poisoned = {
      metric = "Poisoned", statistic = "Sum", threshold = 1, periods = 1
      why    = "the published key set holds private key material: withdraw the key at once"
    }
    key-set-unavailable = {
      metric = "Unavailable", statistic = "Sum", threshold = 1, periods = 2
      why    = "verifiers cannot fetch the key set"
    }
    key-set-last-good = {
      metric = "LastGood", statistic = "Maximum", threshold = 1, periods = 2
      why    = "the key set is served from memory because its store fails; it ends after an hour"
    }
  }

  _lambda = merge(
    {
      for key, name in var.function_names : "${key}-errors" => {
        metric = "Errors", function = name, statistic = "Sum", threshold = 1
        why    = "${name} failed: its log says why"
      }
    },
    {
      for key, name in var.function_names : "${key}-throttles" => {
        metric = "Throttles", function = name, statistic = "Sum", threshold = 1
        why    = "${name} was refused concurrency"
      }
    },
    {
      withdraw-invoked = {
        metric = "Invocations", function = var.function_names["withdraw"], statistic = "Sum", threshold = 1
        why    = "somebody withdraws a key: expected in an emergency only"
      }
    },
  )
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each = local._gauges

  name           = "${var.name}-${each.key}"
  log_group_name = var.log_group_names[each.value]
  pattern        = "{ $.${each.key} = * }"

  metric_transformation {
    namespace = var.name
    name      = each.key
    value     = "$.${each.key}"
  }
}

resource "aws_cloudwatch_metric_alarm" "own" {
  for_each = local._own

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.why
  namespace           = aws_cloudwatch_log_metric_filter.this[each.value.metric].metric_transformation[0].namespace
  metric_name         = each.value.metric
  statistic           = each.value.statistic
  period              = 300
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "key_days_left" {
  alarm_name          = "${var.name}-key-days-left"
  alarm_description   = "the next rotation is overdue: look at the rotation function's log"
  namespace           = aws_cloudwatch_log_metric_filter.this["KeyDaysLeft"].metric_transformation[0].namespace
  metric_name         = "KeyDaysLeft"
  statistic           = "Minimum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "LessThanThreshold"
  threshold           = var.thresholds.key_days_left
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "lambda" {
  for_each = local._lambda

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.why
  namespace           = "AWS/Lambda"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = each.value.function }
  statistic           = each.value.statistic
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "api" {
  alarm_name          = "${var.name}-api-5xx"
  alarm_description   = "API Gateway answers with errors of ours"
  namespace           = "AWS/ApiGateway"
  metric_name         = "5XXError"
  dimensions          = { ApiName = var.api_name, Stage = var.stage_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.thresholds.failures
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}
