# A name of one's own: the issuer's URL then has no stage in it and outlives this API.
resource "aws_api_gateway_domain_name" "this" {
  for_each = var.domain_name == null ? {} : { this = var.domain_name }

  domain_name              = each.value
  regional_certificate_arn = var.certificate_arn
  security_policy          = "TLS_1_2"

  endpoint_configuration {
    types = ["REGIONAL"]
  }

  lifecycle {
    precondition {
      condition     = var.certificate_arn != null
      error_message = "certificate_arn: expected the ARN of a certificate in the API's region; hint: set it, or set zone_id in the root so that one is made."
    }
  }
}

resource "aws_api_gateway_base_path_mapping" "this" {
  for_each = aws_api_gateway_domain_name.this

  api_id      = aws_api_gateway_rest_api.this.id
  stage_name  = aws_api_gateway_stage.this.stage_name
  domain_name = each.value.domain_name
}

resource "aws_route53_record" "this" {
  for_each = var.tld_zone_id == null ? {} : aws_api_gateway_domain_name.this

  zone_id = var.tld_zone_id
  name    = each.value.domain_name
  type    = "A"

  alias {
    name                   = each.value.regional_domain_name
    zone_id                = each.value.regional_zone_id
    evaluate_target_health = false
  }
}
