output "api_gateway_execution_arn" {
  description = "arn:…:execute-api:REGION:ACCOUNT:API, without stage."
  value       = aws_api_gateway_rest_api.this.execution_arn
}

output "api_id" {
  description = "Identifier of the REST API."
  value       = aws_api_gateway_rest_api.this.id
}

output "api_name" {
  description = "Name of the REST API, as its metrics are labelled."
  value       = aws_api_gateway_rest_api.this.name
}

output "domain_name" {
  description = "Where DNS must point for the domain; null without one."
  value       = one([for domain in aws_api_gateway_domain_name.this : domain.regional_domain_name])
}

output "issuer_url" {
  description = "The iss claim: https://DOMAIN, or the stage's own URL. Known before the functions, whose environment holds it."
  value       = local.issuer_url
}

output "public_routes" {
  description = "STAGE/METHOD/PATH of everything anonymous."
  value       = local.public_routes
}

output "redeployment" {
  description = "Digest of everything that a deployment copies; another one is another deployment."
  value       = aws_api_gateway_deployment.this.triggers["redeployment"]
}

output "resource_policy" {
  description = "The API's resource policy."
  value       = aws_api_gateway_rest_api_policy.this.policy
}

output "sso_path_enforced" {
  description = "True once the policy that refuses forged SSO roles is attached: SSO_PATH_ENFORCED of the issuer. Read from the attached policy, so neither comes without the other."
  value = anytrue([
    for statement in jsondecode(aws_api_gateway_rest_api_policy.this.policy).Statement :
    statement.Sid == "NobodyForgesSsoRoles" && statement.Effect == "Deny"
  ])
}

output "stage_name" {
  description = "Name of the stage."
  value       = var.stage_name
}

output "token_route" {
  description = "STAGE/METHOD/PATH of the token endpoint."
  value       = local.token_route
}
