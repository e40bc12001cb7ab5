"""Makes a key and a DPoP proof with joserfc, by the words of RFC 9449, and prints them: dpop_joserfc.py ALG METHOD URL CHANGES

CHANGES is a JSON object {"header": {...}, "claims": {...}, "private": false}: members to add or replace before the proof is
signed; with "private" the header's key is the whole one. Prints {"thumbprint","proofs":[proof]}. Needs: pip install joserfc
"""

import json
import secrets
import sys
import time

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey


class Unchecked(jws.JWSRegistry):
    """Signs headers that joserfc itself would refuse: those are the point of some tests."""

    def check_header(self, header):
        pass


alg, method, url, changes = sys.argv[1:]
changes = json.loads(changes)
key = {
    "ES256": lambda: ECKey.generate_key("P-256"),
    "ES384": lambda: ECKey.generate_key("P-384"),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
    "RS256": lambda: RSAKey.generate_key(2048),
    "PS256": lambda: RSAKey.generate_key(2048),
}[alg]()

header = {"typ": "dpop+jwt", "alg": alg, "jwk": key.as_dict(private=changes.get("private", False))}
claims = {"jti": secrets.token_urlsafe(12), "htm": method, "htu": url, "iat": int(time.time())}
header.update(changes.get("header", {}))
claims.update(changes.get("claims", {}))
proof = jws.serialize_compact(header, json.dumps(claims).encode(), key, registry=Unchecked(algorithms=[alg]))
print(json.dumps({"thumbprint": key.thumbprint(), "proofs": [proof]}))
