terraform {
  required_version = ">= 1.8"

  required_providers {
    snowflake = {
      source  = "snowflakedb/snowflake"
      version = ">= 2.1, < 3"
    }
  }
}
