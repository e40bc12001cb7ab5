"""A stand-in for Snowflake's login, for External OAuth: login_endpoint.py ACCOUNT SQL-FILE

It is set up by the SQL that sets up Snowflake, and judges tokens as Snowflake documents it; PyJWT verifies them. It prints
one line of JSON, {"port": N}, once it listens on 127.0.0.1. Needs: pip install 'PyJWT[crypto]'

It is not Snowflake. Where the documentation is silent it takes the stricter way: key sets are kept for an hour and not
fetched again for an unknown kid; `typ` is JWT or absent; `aud` is one string, and the account's own URL begins https://;
RSA signatures only; a token without `iat` or `exp` is malformed. Details whose name begins with UNDOCUMENTED have no name
in Snowflake's documentation, and their number is the general one.

Beside what a connector calls, GET /failures/UUID gives what SYSTEM$GET_LOGIN_FAILURE_DETAILS would, and GET /fetches how
often the key set was fetched.
"""

import gzip
import json
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit
from urllib.request import ProxyHandler, build_opener

import jwt

from integration import PRIVILEGED, Account

ALGORITHMS = ["RS256", "RS384", "RS512"]
KEYS_KEPT_SECONDS = 3600
INVALID, EXPIRED = "390303", "390318"
ROLE = (
    "The role requested in the connection, or the default role if none was requested in the connection ('{}'), is not "
    "listed in the Access Token or was filtered. Please specify another role, or contact your OAuth Authorization server "
    "administrator."
)


class Refused(Exception):
    """A login that fails, with the detail that only an administrator gets to see."""

    def __init__(self, detail: str, message: str = "Invalid OAuth access token.", number: str = INVALID):
        super().__init__(detail)
        self.detail, self.message, self.number = detail, message, number


class Keys:
    """The key set of one URL, kept for an hour whatever its headers say."""

    def __init__(self):
        self.lock, self.fetches, self.kept = Lock(), 0, {}

    def get(self, url: str, kid: str):
        with self.lock:
            fetched, keys = self.kept.get(url, (0, None))
            if keys is None or time.monotonic() - fetched >= KEYS_KEPT_SECONDS:
                self.fetches += 1
                try:
                    with build_opener(ProxyHandler({})).open(url, timeout=10) as response:
                        keys = jwt.PyJWKSet.from_dict(json.load(response))
                except (OSError, ValueError, jwt.PyJWTError) as error:
                    raise Refused("EXTERNAL_OAUTH_JWS_CANT_RETRIEVE_PUBLIC_KEY") from error
                self.kept[url] = (time.monotonic(), keys)
        key = next((key for key in keys.keys if key.key_id == kid), None)
        if key is None:
            raise Refused("EXTERNAL_OAUTH_JWS_CANT_RETRIEVE_PUBLIC_KEY")
        return key


class Login:
    """The judgement of one token."""

    def __init__(self, name: str, account: Account, keys: Keys):
        self.name, self.account, self.keys = name, account, keys

    def judge(self, token: str, login_name: str, role: str):
        """The user and the role of the session."""
        rules, claims = self.verified(token)
        subject = claims.get(rules["EXTERNAL_OAUTH_TOKEN_USER_MAPPING_CLAIM"])
        if not isinstance(subject, str) or not subject:
            raise Refused("EXTERNAL_OAUTH_USER_CLAIM_MISSING")
        user = self.account.by_login_name(subject)
        if user is None:
            raise Refused("UNDOCUMENTED_NO_USER_OF_THIS_LOGIN_NAME")
        if login_name and login_name.upper() != user.login_name:
            raise Refused("UNDOCUMENTED_OTHER_USER_THAN_THE_TOKENS")
        return user, self.role(rules, claims, user, role)

    def verified(self, token: str):
        """The security integration that the issuer names, and the claims."""
        try:
            header = jwt.get_unverified_header(token)
            unverified = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise Refused("EXTERNAL_OAUTH_JWS_INVALID_FORMAT") from error
        if header.get("typ", "JWT") != "JWT":
            raise Refused("EXTERNAL_OAUTH_JWS_INVALID_TYPE")
        issuer = unverified.get("iss")
        if not isinstance(issuer, str):
            raise Refused("EXTERNAL_OAUTH_MISSING_ISSUER")
        integrations = self.account.integrations.values()
        rules = next((found for found in integrations if found["EXTERNAL_OAUTH_ISSUER"] == issuer), None)
        if rules is None:
            raise Refused("EXTERNAL_OAUTH_ACCESS_TOKEN_ISSUER_NOT_FOUND")
        if rules["ENABLED"] != "TRUE":
            raise Refused("EXTERNAL_OAUTH_ACCESS_TOKEN_ISSUER_NOT_ENABLED")
        if header.get("alg") not in ALGORITHMS:
            raise Refused("EXTERNAL_OAUTH_INVALID_SIGNATURE")
        key = self.keys.get(rules["EXTERNAL_OAUTH_JWS_KEYS_URL"], header.get("kid"))
        audiences = [f"https://{self.name}.snowflakecomputing.com", *rules.get("EXTERNAL_OAUTH_AUDIENCE_LIST", [])]
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=issuer,
                audience=audiences,
                options={"require": ["iss", "aud", "exp", "iat"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise Refused("EXTERNAL_OAUTH_ACCESS_TOKEN_EXPIRED", "OAuth access token expired.", EXPIRED) from error
        except jwt.ImmatureSignatureError as error:
            raise Refused("EXTERNAL_OAUTH_ACCESS_TOKEN_NOT_YET_VALID") from error
        except jwt.MissingRequiredClaimError as error:
            missing = "EXTERNAL_OAUTH_MISSING_AUDIENCE" if error.claim == "aud" else "EXTERNAL_OAUTH_JWS_INVALID_FORMAT"
            raise Refused(missing) from error
        except jwt.InvalidAudienceError as error:
            raise Refused("EXTERNAL_OAUTH_AUDIENCE_VALIDATION_FAILED") from error
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError, jwt.InvalidKeyError) as error:
            raise Refused("EXTERNAL_OAUTH_INVALID_SIGNATURE") from error
        except jwt.PyJWTError as error:
            raise Refused("EXTERNAL_OAUTH_JWS_INVALID_FORMAT") from error
        if not isinstance(claims["aud"], str):
            raise Refused("EXTERNAL_OAUTH_AUDIENCE_VALIDATION_FAILED")
        return rules, claims

    def role(self, rules: dict, claims: dict, user, requested: str) -> str:
        attribute = rules.get("EXTERNAL_OAUTH_SCOPE_MAPPING_ATTRIBUTE", "scp")
        scopes = claims.get(attribute)
        if attribute == "scope":
            scopes = scopes.split(rules.get("EXTERNAL_OAUTH_SCOPE_DELIMITER", ",")) if isinstance(scopes, str) else []
        if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
            scopes = []
        scopes = [scope.upper() for scope in scopes]
        role = (requested or user.default_role or "PUBLIC").upper()
        listed = f"SESSION:ROLE:{role}" in scopes
        if "SESSION:ROLE-ANY" in scopes:
            mode = rules.get("EXTERNAL_OAUTH_ANY_ROLE_MODE", "DISABLE")
            listed |= mode == "ENABLE" or (mode == "ENABLE_FOR_PRIVILEGE" and bool(user.roles & self.account.any_role))
        blocked = {blocked.upper() for blocked in rules.get("EXTERNAL_OAUTH_BLOCKED_ROLES_LIST", [])} | set(PRIVILEGED)
        allowed = {allowed.upper() for allowed in rules.get("EXTERNAL_OAUTH_ALLOWED_ROLES_LIST", [])}
        if not listed or role in blocked or (allowed and role not in allowed):
            raise Refused("UNDOCUMENTED_ROLE_NOT_LISTED_OR_FILTERED", ROLE.format(role))
        if role not in user.roles:
            raise Refused(
                "UNDOCUMENTED_ROLE_NOT_GRANTED",
                f"Role '{role}' specified in the connect string is not granted to this user.",
            )
        return role


class Handler(BaseHTTPRequestHandler):
    """The paths that a connector calls."""

    protocol_version = "HTTP/1.1"
    login: Login
    failures: dict[str, dict] = {}
    sessions: dict[str, tuple] = {}

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802
        path = urlsplit(self.path).path
        if path == "/fetches":
            return self.answer(self.login.keys.fetches)
        return self.answer(self.failures.get(path.removeprefix("/failures/")))

    def do_POST(self):  # noqa: N802
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if url.path == "/session/v1/login-request":
            return self.log_in(json.loads(body)["data"], parse_qs(url.query))
        token = self.headers.get("Authorization", "").removeprefix('Snowflake Token="').removesuffix('"')
        session = self.sessions.get(token)
        if session is None:
            return self.reply(None, "390104", "The session token is not valid.")
        if url.path == "/queries/v1/query-request":
            return self.query(json.loads(body)["sqlText"], session)
        if url.path == "/session" and "delete" in parse_qs(url.query):
            del self.sessions[token]
        return self.reply(None)

    def log_in(self, data: dict, query: dict):
        try:
            if data.get("AUTHENTICATOR") != "OAUTH":
                raise Refused("UNDOCUMENTED_ANOTHER_AUTHENTICATOR")
            role = query.get("roleName", [""])[0]
            user, role = self.login.judge(data.get("TOKEN", ""), data.get("LOGIN_NAME") or "", role)
        except Refused as refused:
            reference = str(uuid.uuid4())
            self.failures[reference] = {
                "clientIP": self.client_address[0],
                "clientType": data.get("CLIENT_APP_ID") or "OTHER",
                "clientVersion": data.get("CLIENT_APP_VERSION"),
                "username": None,
                "errorCode": refused.detail,
                "timestamp": int(time.time()),
            }
            return self.reply(None, refused.number, f"{refused.message} [{reference}]")
        token = str(uuid.uuid4())
        self.sessions[token] = (user, role)
        names = {"databaseName": None, "schemaName": None, "warehouseName": None, "roleName": role}
        validity = {"validityInSeconds": 3600, "masterValidityInSeconds": 14400}
        session = {"token": token, "masterToken": str(uuid.uuid4()), "sessionId": len(self.sessions), **validity}
        session.update(displayUserName=user.name, serverVersion="stand-in", parameters=[], sessionInfo=names)
        self.reply(session)

    def query(self, sql: str, session: tuple):
        if " ".join(sql.upper().split()) != "SELECT CURRENT_USER(), CURRENT_ROLE()":
            return self.reply(None, "001003", "SQL compilation error: this stand-in knows one query only.")
        user, role = session
        column = {"type": "text", "nullable": True, "length": 256, "byteLength": 256, "scale": None, "precision": None}
        names = ("CURRENT_USER()", "CURRENT_ROLE()")
        result = {"rowtype": [{"name": name, **column} for name in names], "rowset": [[user.name, role]]}
        result.update(total=1, returned=1, queryId=str(uuid.uuid4()), queryResultFormat="json")
        return self.reply({**result, "parameters": [], "statementTypeId": 4096, "version": 1})

    def reply(self, data, code=None, message=None):
        self.answer({"data": data, "code": code, "message": message, "success": code is None})

    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    account = Account()
    with open(sys.argv[2], encoding="utf-8") as file:
        account.run(file.read())
    Handler.login = Login(sys.argv[1], account, Keys())
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()
