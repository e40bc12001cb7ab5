resource "snowflake_external_oauth_integration" "this" {
  name    = var.name
  comment = var.comment
  enabled = true

  external_oauth_type   = "CUSTOM"
  external_oauth_issuer = var.issuer_url
  # CUSTOM takes exactly one URL (three are for AZURE only).
  external_oauth_jws_keys_url  = [var.jws_keys_url]
  external_oauth_audience_list = var.audience_list

  external_oauth_token_user_mapping_claim         = ["sub"]
  external_oauth_snowflake_user_mapping_attribute = "LOGIN_NAME"

  external_oauth_scope_mapping_attribute = var.scope_mapping_attribute
  external_oauth_any_role_mode           = var.any_role_mode
}
