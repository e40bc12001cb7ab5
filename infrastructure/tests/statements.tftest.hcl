# What the lambda module admits without naming a key, and every way around it that it must not admit.
# Shapes that policies are made of. Values of a mock are never asserted by themselves.
mock_provider "aws" {
  mock_resource "aws_api_gateway_rest_api" {
    defaults = {
      id            = "abcdef1234"
      execution_arn = "arn:aws:execute-api:eu-west-1:111122223333:abcdef1234"
    }
  }

  mock_resource "aws_api_gateway_stage" {
    defaults = { arn = "arn:aws:apigateway:eu-west-1::/restapis/abcdef1234/stages/v1" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:111122223333:log-group:/mock" }
  }

  mock_resource "aws_ecr_repository" {
    defaults = {
      arn            = "arn:aws:ecr:eu-west-1:111122223333:repository/mock"
      repository_url = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/mock"
    }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/mock" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000" }
  }

  mock_resource "aws_lambda_alias" {
    defaults = {
      arn        = "arn:aws:lambda:eu-west-1:111122223333:function:mock:live"
      invoke_arn = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:mock:live/invocations"
    }
  }

  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:111122223333:function:mock" }
  }

  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf" }
  }

  mock_resource "aws_ssm_parameter" {
    defaults = { arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/mock" }
  }

  mock_resource "aws_wafv2_web_acl" {
    defaults = { arn = "arn:aws:wafv2:eu-west-1:111122223333:regional/webacl/mock/00000000-0000-0000-0000-000000000000" }
  }
}

variables {
  name      = "jwt-issuer-test-issuer"
  image_uri = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/issuer:1.0.0"
}

run "admitted" {
  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = {
      Disable = { actions = ["kms:DisableKey"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } }
      Make    = { actions = ["kms:CreateKey"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } }
      Tag     = { actions = ["kms:TagResource"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] }, StringEqualsIfExists = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } } }
      Use     = { actions = ["kms:GetPublicKey", "kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } }
    }
  }

  assert {
    condition     = [for s in jsondecode(output.policy_json).Statement : s.Condition if can(s.Condition)] == [{ StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } }, { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["SIGN_VERIFY"] } }, { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] }, StringEqualsIfExists = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } }, { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } }]
    error_message = "the conditions arrive as they were given"
  }
}

run "use_without_a_condition" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"] } }
  }

  expect_failures = [var.policy_statements]
}

run "use_of_every_resource" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_in_every_region" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:*:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_in_every_account" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:*:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_of_aliases" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:alias/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_beside_another_resource" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*", "arn:aws:ssm:eu-west-1:111122223333:parameter/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_by_likeness" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringLike = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_if_there_is_a_tag" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEqualsIfExists = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_of_a_ring_by_wildcard" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["*"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

# $${ is how ${ is written: an IAM policy variable, which the caller's own tags would fill.
run "use_of_a_ring_by_variable" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["$${aws:PrincipalTag/ring}"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_of_two_rings" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf", "arn:aws:secretsmanager:eu-west-1:111122223333:secret:other-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_of_no_ring" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = [], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_by_another_tag" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/team" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_of_encryption_keys" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "use_and_a_new_policy" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign", "kms:PutKeyPolicy"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "deletion" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:ScheduleKeyDeletion"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "decryption" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Decrypt"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "another_service" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["ssm:GetParameter"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_without_a_condition" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*"] } }
  }

  expect_failures = [var.policy_statements]
}

run "make_without_the_tag" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_with_more_tags" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring", "team"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_with_any_tags" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*"], conditions = { StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_encryption_keys" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["ENCRYPT_DECRYPT"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_keys_of_any_kind" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_keys_of_another_kind" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_SECG_P256K1"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_and_open" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey", "kms:CreateGrant"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_and_more_resources" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*", "arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"], "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "tag_without_a_condition" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:TagResource"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"] } }
  }

  expect_failures = [var.policy_statements]
}

run "tag_keys_of_other_rings" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:TagResource"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "tag_keys_of_one_other_ring" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:TagResource"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] }, StringEqualsIfExists = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:other-AbCdEf"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "tag_with_any_tags" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:TagResource"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] }, StringEqualsIfExists = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "tag_of_every_resource" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:TagResource"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] }, StringEqualsIfExists = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "tag_for_every_ring" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:TagResource"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["*"] }, StringEqualsIfExists = { "aws:ResourceTag/jwt-issuer:ring" = ["*"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "make_for_every_ring" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:CreateKey"], resources = ["*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["*"], "kms:KeySpec" = ["ECC_NIST_P256"], "kms:KeyUsage" = ["SIGN_VERIFY"] } } } }
  }

  expect_failures = [var.policy_statements]
}

run "tag_and_untag" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:TagResource", "kms:UntagResource"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/*"], conditions = { "ForAllValues:StringEquals" = { "aws:TagKeys" = ["jwt-issuer:ring"] }, StringEquals = { "aws:RequestTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] }, StringEqualsIfExists = { "aws:ResourceTag/jwt-issuer:ring" = ["arn:aws:secretsmanager:eu-west-1:111122223333:secret:mock-AbCdEf"] } } } }
  }

  expect_failures = [var.policy_statements]
}

# "?" is a wildcard, too.
run "one_key_by_question_marks" {
  command = plan

  module {
    source = "./modules/lambda"
  }

  variables {
    policy_statements = { Keys = { actions = ["kms:Sign"], resources = ["arn:aws:kms:eu-west-1:111122223333:key/????????-????-????-????-????????????"] } }
  }

  expect_failures = [var.policy_statements]
}
