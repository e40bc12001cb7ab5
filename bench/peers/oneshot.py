"""PyJWT: the init container's work. OUTPUT_PATH gets a token, whole or not at all; JWT_SECRET_KEY or KEY_FILE signs it."""

import os
import tempfile
import time
import uuid

import jwt

now = int(time.time())
claims = {"iss": "jwt-generator", "sub": os.environ["SERVICE_NAME"], "iat": now, "nbf": now, "exp": now + 3600, "jti": uuid.uuid4().hex}
if "KEY_FILE" in os.environ:
    with open(os.environ["KEY_FILE"], "rb") as file:
        token = jwt.encode(claims, file.read(), algorithm="ES256", headers={"kid": os.environ["KID"]})
else:
    token = jwt.encode(claims, os.environ["JWT_SECRET_KEY"], algorithm="HS256")
path = os.environ["OUTPUT_PATH"]
folder = os.path.dirname(path)
with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
    file.write(token)
    file.flush()
    os.fsync(file.fileno())
os.replace(file.name, path)
descriptor = os.open(folder, os.O_RDONLY)
os.fsync(descriptor)
print(f"JWT successfully written to {path}")
