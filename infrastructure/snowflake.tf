# Snowflake's side, for whoever has the right to run it there. modules/snowflake_oauth makes the same as code.
locals {
  _snowflake_audiences = var.snowflake == null ? [] : var.snowflake.audience_list

  snowflake_sql = var.snowflake == null ? null : join("\n", concat(
    [
      "CREATE SECURITY INTEGRATION IF NOT EXISTS ${var.snowflake.integration_name}",
      "  TYPE = EXTERNAL_OAUTH",
      "  ENABLED = TRUE",
      "  EXTERNAL_OAUTH_TYPE = CUSTOM",
      "  EXTERNAL_OAUTH_ISSUER = '${module.apigw.issuer_url}'",
      "  EXTERNAL_OAUTH_JWS_KEYS_URL = '${module.apigw.issuer_url}/.well-known/jwks.json'",
    ],
    length(local._snowflake_audiences) == 0 ? [] : [
      "  EXTERNAL_OAUTH_AUDIENCE_LIST = (${join(", ", [for audience in local._snowflake_audiences : "'${audience}'"])})",
    ],
    [
      "  EXTERNAL_OAUTH_TOKEN_USER_MAPPING_CLAIM = 'sub'",
      "  EXTERNAL_OAUTH_SNOWFLAKE_USER_MAPPING_ATTRIBUTE = 'LOGIN_NAME'",
      "  EXTERNAL_OAUTH_SCOPE_MAPPING_ATTRIBUTE = '${var.snowflake.scope_mapping_attribute}'",
      "  EXTERNAL_OAUTH_ANY_ROLE_MODE = '${var.snowflake.any_role_mode}';",
      "",
      "-- Says why Snowflake would refuse a token:",
      "-- SELECT SYSTEM$VERIFY_EXTERNAL_OAUTH_TOKEN('<token>');",
      "",
    ],
  ))
}
