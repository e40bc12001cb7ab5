output "alarm_names" {
  description = "Every alarm."
  value = sort(concat(
    [for alarm in aws_cloudwatch_metric_alarm.own : alarm.alarm_name],
    [for alarm in aws_cloudwatch_metric_alarm.lambda : alarm.alarm_name],
    [aws_cloudwatch_metric_alarm.api.alarm_name, aws_cloudwatch_metric_alarm.key_days_left.alarm_name],
  ))
}
