"""The issuer as a small Python function: PyJWT, boto3 when its documents are in AWS, and a minimal runtime loop.

It does what `jwt-issuer` does for this one event: identity from the request context, organization, rule, claims, key that is
published, RS256 or ES256 signature, a decision record. It proves nothing about its rules and checks far less.
"""

import base64
import http.client
import json
import os
import time
import uuid

import jwt
from cryptography.hazmat.primitives.serialization import load_der_private_key

ENV = os.environ


def read(location, store):
    scheme, name = location.split(":", 1)
    if scheme == "file":
        with open(name, encoding="utf-8") as file:
            return file.read()
    return store("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]


def load():
    clients = {}

    def store(service):
        import boto3

        if service not in clients:
            clients[service] = boto3.client(service, region_name=ENV["AWS_REGION"])
        return clients[service]

    if "KEY_RING" in ENV:
        ring = read(ENV["KEY_RING"], store)
    else:
        secret = store("secretsmanager").get_secret_value(SecretId=ENV["SIGNING_KEY_SECRET_ARN"], VersionStage="AWSCURRENT")
        ring = secret["SecretString"] if "SecretString" in secret else secret["SecretBinary"].decode()
    published = read(ENV.get("JWKS") or "ssm:" + ENV["JWKS_SSM_PARAM"], store)
    rules = json.loads(read(ENV["RULES"], store))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    active = max((key for key in json.loads(ring)["keys"] if key["signs_from"] and key["signs_from"] <= now), key=lambda key: key["signs_from"])
    if active["kid"] not in {key["kid"] for key in json.loads(published)["keys"]}:
        raise RuntimeError("the signing key is not published")
    private = load_der_private_key(base64.b64decode(active["private"]["pkcs8"]), None)
    return active["kid"], active["alg"], private, rules


KID, ALGORITHM, KEY, RULES = load()


def answer(status, body):
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body), "isBase64Encoded": False}


def handler(event):
    decision = str(uuid.uuid4())
    identity = event["requestContext"]["identity"]
    partition_account, _, resource = identity["userArn"].partition(":assumed-role/")
    role, _, session = resource.partition("/")
    account = partition_account.rsplit(":", 1)[-1]
    agrees = account == identity["accountId"] and identity["caller"].endswith(":" + session)
    if not agrees or identity["principalOrgId"] != ENV["ORGANIZATION_ID"]:
        return answer(403, {"error": "access_denied", "decision_id": decision})
    for rule in RULES:
        if account == rule["account"] and role.startswith(rule["role_prefix"]):
            now = int(time.time())
            scope = " ".join(rule["scopes"])
            claims = {
                "iss": ENV["JWT_ISSUER_URL"], "sub": f"{account}/{role.upper()}", "aud": rule["audience"], "iat": now,
                "nbf": now, "exp": now + rule["ttl"], "jti": str(uuid.uuid4()), "scope": scope,
            }
            token = jwt.encode(claims, KEY, algorithm=ALGORITHM, headers={"kid": KID})
            print(json.dumps({"decision_id": decision, "outcome": "issued", "subject": claims["sub"], "kid": KID, "jti": claims["jti"]}))
            return answer(200, {"token": token, "access_token": token, "token_type": "Bearer", "expires_in": rule["ttl"], "scope": scope, "decision_id": decision})
    return answer(403, {"error": "access_denied", "decision_id": decision})


def main():
    api = http.client.HTTPConnection(ENV["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", "/2018-06-01/runtime/invocation/next")
        response = api.getresponse()
        event = json.loads(response.read())
        invocation = response.headers["lambda-runtime-aws-request-id"]
        body = json.dumps(handler(event))
        api.request("POST", f"/2018-06-01/runtime/invocation/{invocation}/response", body)
        api.getresponse().read()


main()
