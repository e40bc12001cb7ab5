#!/usr/bin/env bash
# Gets a token with the AWS credentials at hand: get_token.sh URL [REGION]
#
# URL is the issuer's, as in https://issuer.example; credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
# AWS_SESSION_TOKEN. Prints the token. Needs: curl 7.76 or newer.
set -euo pipefail
url=${1:?expected the URL of an issuer} region=${2:-eu-west-1}
: "${AWS_ACCESS_KEY_ID:?expected AWS credentials; hint: eval \"\$(aws configure export-credentials --format env)\"}"
: "${AWS_SECRET_ACCESS_KEY:?expected it beside AWS_ACCESS_KEY_ID}"

# Secrets go in by standard input: every process of the machine can read arguments.
answer=$({
  printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"
  if [ -n "${AWS_SESSION_TOKEN:-}" ]; then printf 'header = "X-Amz-Security-Token: %s"\n' "$AWS_SESSION_TOKEN"; fi
} | curl --config - --silent --show-error --fail-with-body --max-time 30 --aws-sigv4 "aws:amz:$region:execute-api" \
  --header 'Content-Type: application/json' --data '{"expires_in":600}' "$url/token") || {
  printf 'no token: %s\n' "$answer" >&2
  exit 1
}
printf '%s\n' "$answer" | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p'
