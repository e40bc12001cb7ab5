"""Verifies a token with joserfc and prints its header, claims and key thumbprint: verify_joserfc.py ISSUER AUDIENCE TOKEN

The issuer and the algorithms are fixed here, never taken from the token. Needs: pip install joserfc
"""

import json
import sys
from urllib.request import urlopen

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

issuer, audience, token = sys.argv[1:]
with urlopen(f"{issuer}/.well-known/jwks.json") as response:
    keys = KeySet.import_key_set(json.load(response))

rules = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": issuer},
    aud={"essential": True, "value": audience},
    **{name: {"essential": True} for name in ("sub", "exp", "iat", "nbf", "jti")},
)
try:
    decoded = jwt.decode(token, keys, algorithms=["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"])
    rules.validate(decoded.claims)
    thumbprint = keys.get_by_kid(decoded.header["kid"]).thumbprint()
except (JoseError, ValueError) as error:
    sys.exit(f"refused: {type(error).__name__}: {error}")

print(json.dumps({"header": decoded.header, "claims": decoded.claims, "thumbprint": thumbprint}))
