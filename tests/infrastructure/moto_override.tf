# Laid beside a copy of infrastructure/ to apply it to moto: state in a file, and no questions that only AWS answers.
# Where moto listens, and the credentials it ignores, come from the environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
# AWS_SECRET_ACCESS_KEY.
terraform {
  backend "local" {}
}

provider "aws" {
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
}
