# Whoever can do one of these can forge tokens. CloudTrail records them all; these rules tell somebody. The topics' own
# policies must admit events.amazonaws.com.
locals {
  _not_ours = {
    "$or" = [
      { userIdentity = { sessionContext = { sessionIssuer = { arn = [{ "anything-but" = var.key_writer_role_arns }] } } } },
      { userIdentity = { sessionContext = { sessionIssuer = { arn = [{ exists = false }] } } } },
    ]
  }

  _watched = {
    key-set-written = {
      why     = "the published key set was changed by somebody other than rotation and withdrawal"
      sources = ["aws.ssm"]
      detail = merge(local._not_ours, {
        eventSource       = ["ssm.amazonaws.com"]
        eventName         = ["DeleteParameter", "DeleteParameters", "PutParameter"]
        requestParameters = { name = [var.jwks_ssm_param_name] }
      })
    }
    mapping-written = {
      why     = "the mapping document was changed: expected with a deployment only"
      sources = ["aws.ssm"]
      detail = {
        eventSource       = ["ssm.amazonaws.com"]
        eventName         = ["DeleteParameter", "DeleteParameters", "PutParameter"]
        requestParameters = { name = [var.mapping_ssm_param_name] }
      }
    }
    ring-touched = {
      why     = "the key ring was read, written or re-secured by somebody other than issuer, rotation and withdrawal"
      sources = ["aws.secretsmanager"]
      detail = {
        "$or" = [
          { userIdentity = { sessionContext = { sessionIssuer = { arn = [{ "anything-but" = concat([var.issuer_role_arn], var.key_writer_role_arns) }] } } } },
          { userIdentity = { sessionContext = { sessionIssuer = { arn = [{ exists = false }] } } } },
        ]
        eventSource       = ["secretsmanager.amazonaws.com"]
        eventName         = ["GetSecretValue", "PutResourcePolicy", "PutSecretValue", "RestoreSecret", "UpdateSecret", "UpdateSecretVersionStage"]
        requestParameters = { secretId = [var.secret_arn, { prefix = "${var.name}/" }] }
      }
    }
    code-changed = {
      why     = "a function's code, settings or permissions were changed: expected with a deployment or a withdrawal only"
      sources = ["aws.lambda"]
      detail = {
        eventSource = ["lambda.amazonaws.com"]
        # CloudTrail appends the API's date to these names.
        eventName         = [for action in ["AddPermission", "UpdateAlias", "UpdateFunctionCode", "UpdateFunctionConfiguration"] : { prefix = action }]
        requestParameters = { functionName = flatten([for name in values(var.function_names) : [name, { suffix = ":function:${name}" }]]) }
      }
    }
    key-policy-changed = {
      why     = "the policy or the grants of a KMS key were changed: that is how an administrator comes to read the ring or to sign"
      sources = ["aws.kms"]
      detail = {
        eventSource       = ["kms.amazonaws.com"]
        eventName         = ["CreateGrant", "PutKeyPolicy"]
        requestParameters = { keyId = flatten([for arn in var.kms_key_arns : [arn, element(split("/", arn), 1)]]) }
      }
    }
  }

  # KMS signing keys come at run time, and CloudTrail names a key by its ARN, never by its tags. What can be seen without
  # knowing the keys: whoever gives the tag to a key or takes it away, whoever grants Sign to somebody, and every new key
  # policy of the account and region, for another application's key too. Not seen here: a kms:Sign by somebody whom IAM lets
  # (docs/OPERATIONS.md says how to look; the sample SCP prevents it).
  _watched_signing_keys = {
    for rule, watched in {
      signing-key-tagged = {
        why     = "the tag by which functions may sign was given to a KMS key, or taken from one, other than by making a key for the ring"
        sources = ["aws.kms"]
        detail = {
          eventSource = ["kms.amazonaws.com"]
          "$or" = concat(
            [
              for by in local._not_ours["$or"] : merge(by, {
                eventName         = ["CreateKey"]
                requestParameters = { tags = { tagKey = [try(var.signing_key_tag.key, "")], tagValue = [try(var.signing_key_tag.value, "")] } }
              })
            ],
            # Rotation and withdrawal make keys with the tag; they never tag one that is there.
            [
              { eventName = ["TagResource"], requestParameters = { tags = { tagKey = [try(var.signing_key_tag.key, "")] } } },
              { eventName = ["UntagResource"], requestParameters = { tagKeys = [try(var.signing_key_tag.key, "")] } },
            ],
          )
        }
      }
      signing-key-opened = {
        why     = "a KMS key got another policy, or somebody a grant to sign: that is how others come to sign; look whether the key carries the ring's tag"
        sources = ["aws.kms"]
        detail = {
          eventSource = ["kms.amazonaws.com"]
          "$or" = [
            { eventName = ["PutKeyPolicy"] },
            { eventName = ["CreateGrant"], requestParameters = { operations = ["Sign"] } },
          ]
        }
      }
    } : rule => watched if var.signing_key_tag != null
  }

  _rules = merge(local._watched, local._watched_signing_keys)

  _targets = {
    for pair in setproduct(keys(local._rules), range(length(var.alarm_topic_arns))) :
    "${pair[0]}-${pair[1]}" => { rule = pair[0], topic = var.alarm_topic_arns[pair[1]] }
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local._rules

  name        = "${var.name}-${each.key}"
  description = each.value.why
  # Without this, EventBridge leaves out calls that only read, and with them GetSecretValue.
  state = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"

  event_pattern = jsonencode({
    source        = each.value.sources
    "detail-type" = ["AWS API Call via CloudTrail"]
    detail        = each.value.detail
  })
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local._targets

  rule      = aws_cloudwatch_event_rule.this[each.value.rule].name
  target_id = each.key
  arn       = each.value.topic
}
