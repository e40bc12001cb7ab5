output "snowflake_oauth_integration_id" {
  description = "Identifier of the security integration."
  value       = snowflake_external_oauth_integration.this.id
}
