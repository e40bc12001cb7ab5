locals {
  # A wildcard shares the validation record of its base name.
  _names = toset([for name in concat([var.domain_name], var.subject_alternative_names) : trimprefix(name, "*.")])

  _records = {
    for name in local._names : name => [
      for option in aws_acm_certificate.this.domain_validation_options : option if trimprefix(option.domain_name, "*.") == name
    ]
  }
}

resource "aws_acm_certificate" "this" {
  domain_name               = var.domain_name
  subject_alternative_names = var.subject_alternative_names
  validation_method         = "DNS"
  tags                      = var.tags

  options {
    certificate_transparency_logging_preference = "ENABLED"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  for_each = local._names

  zone_id         = var.zone_id
  name            = local._records[each.value][0].resource_record_name
  type            = local._records[each.value][0].resource_record_type
  records         = [local._records[each.value][0].resource_record_value]
  ttl             = 60
  allow_overwrite = true
}

resource "aws_acm_certificate_validation" "this" {
  certificate_arn         = aws_acm_certificate.this.arn
  validation_record_fqdns = [for record in aws_route53_record.validation : record.fqdn]

  timeouts {
    create = "15m"
  }
}
