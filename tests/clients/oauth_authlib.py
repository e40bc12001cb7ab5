"""A client of the token service with Authlib:

    oauth_authlib.py ISSUER CLIENT_ID CLIENT_SECRET [PRIVATE_JWK]
    oauth_authlib.py key: prints a key pair, {"private","public"}

Client credentials, refresh, introspection, revocation; by secret in both ways and, with PRIVATE_JWK (RSA, JSON), by
private_key_jwt. Prints what it has seen as one JSON object. Needs: pip install Authlib requests
"""

import json
import os
import sys

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # the server is on loopback

from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.oauth2.rfc7523 import PrivateKeyJWT  # noqa: E402

if sys.argv[1] == "key":
    from joserfc.jwk import RSAKey

    key = RSAKey.generate_key(2048, {"kid": "web-2", "alg": "RS256", "use": "sig"}, private=True)
    print(json.dumps({"private": key.as_dict(private=True), "public": key.as_dict(private=False)}))
    sys.exit()

issuer, client_id, secret = sys.argv[1:4]
endpoint = f"{issuer}/oauth2"


def sessions():
    for method in ("client_secret_basic", "client_secret_post"):
        yield method, lambda method=method: OAuth2Session(
            client_id, secret, token_endpoint_auth_method=method, revocation_endpoint_auth_method=method
        )
    if len(sys.argv) > 4:
        jwk = json.loads(sys.argv[4])

        def by_key():
            method = "private_key_jwt"
            session = OAuth2Session(
                client_id, jwk, token_endpoint_auth_method=method, revocation_endpoint_auth_method=method
            )
            session.register_client_auth_method(PrivateKeyJWT(f"{endpoint}/token", alg=jwk["alg"], headers={"kid": jwk["kid"]}))
            return session

        yield "private_key_jwt", by_key


seen = {}
for method, make in sessions():
    session = make()
    first = session.fetch_token(f"{endpoint}/token", grant_type="client_credentials", scope="read offline_access")
    second = make().refresh_token(f"{endpoint}/token", refresh_token=first["refresh_token"])
    before = make().introspect_token(f"{endpoint}/introspect", token=second["access_token"]).json()
    revoked = make().revoke_token(f"{endpoint}/revoke", token=second["refresh_token"], token_type_hint="refresh_token")
    after = make().introspect_token(f"{endpoint}/introspect", token=second["access_token"]).json()
    seen[method] = {
        "token_type": first["token_type"],
        "rotated": first["refresh_token"] != second["refresh_token"],
        "active": [before["active"], after["active"]],
        "sub": before["sub"],
        "revoked": revoked.status_code,
    }
print(json.dumps(seen))
