"""PyJWT: measures itself. One JSON line in, one out; the first line says what to work on."""

import json
import sys
import time

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

task = json.loads(sys.stdin.readline())
algorithm, claims = task["algorithm"], task["claims"]
private = load_pem_private_key(task["pem"].encode(), None)
public = private.public_key()
headers = {"kid": task["kid"]}
REQUIRED = {"require": ["exp"]}
print(json.dumps({"ready": True}), flush=True)


def encode():
    return jwt.encode(claims, private, algorithm=algorithm, headers=headers)


def verify():
    return jwt.decode(task["token"], public, algorithms=[algorithm], audience=task["audience"], issuer=task["issuer"], options=REQUIRED, leeway=60)["sub"]


for line in sys.stdin:
    question = json.loads(line)
    operation = encode if question["operation"] == "encode" else verify
    start = time.process_time()
    for _ in range(question["count"]):
        last = operation()
    print(json.dumps({"cpu_s": time.process_time() - start, "token": last}), flush=True)
