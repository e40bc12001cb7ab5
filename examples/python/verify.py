"""Verifies a token with PyJWT and prints its header and claims: verify.py ISSUER AUDIENCE TOKEN

The issuer and the algorithms are fixed here, never taken from the token. Needs: pip install 'PyJWT[crypto]'
"""

import json
import sys

import jwt

issuer, audience, token = sys.argv[1:]
keys = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json")

try:
    key = keys.get_signing_key_from_jwt(token)
    claims = jwt.decode(
        token,
        key,
        algorithms=["RS256", "PS256", "ES256", "ES384", "EdDSA"],
        issuer=issuer,
        audience=audience,
        options={"require": ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]},
    )
except jwt.PyJWTError as error:
    sys.exit(f"refused: {type(error).__name__}: {error}")

print(json.dumps({"header": jwt.get_unverified_header(token), "claims": claims}))
