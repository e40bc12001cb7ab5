"""The few SQL statements that set up External OAuth in Snowflake, read strictly.

Whatever is not one of these statements and parameters is an error, so that a document with a misspelt parameter fails
here as it would there. Comparison rules are those of Snowflake's documentation: identifiers and login names without case,
values with it.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

# Blocked unless the account parameter EXTERNAL_OAUTH_ADD_PRIVILEGED_ROLES_TO_BLOCKED_LIST says otherwise.
PRIVILEGED = ("ACCOUNTADMIN", "ORGADMIN", "GLOBALORGADMIN", "SECURITYADMIN")

REQUIRED = (
    "TYPE",
    "ENABLED",
    "EXTERNAL_OAUTH_TYPE",
    "EXTERNAL_OAUTH_ISSUER",
    "EXTERNAL_OAUTH_JWS_KEYS_URL",
    "EXTERNAL_OAUTH_TOKEN_USER_MAPPING_CLAIM",
    "EXTERNAL_OAUTH_SNOWFLAKE_USER_MAPPING_ATTRIBUTE",
)
LISTS = ("EXTERNAL_OAUTH_AUDIENCE_LIST", "EXTERNAL_OAUTH_ALLOWED_ROLES_LIST", "EXTERNAL_OAUTH_BLOCKED_ROLES_LIST")
WORDS = {
    "TYPE": ("EXTERNAL_OAUTH",),
    "ENABLED": ("TRUE", "FALSE"),
    "EXTERNAL_OAUTH_TYPE": ("CUSTOM",),
    "EXTERNAL_OAUTH_ANY_ROLE_MODE": ("DISABLE", "ENABLE", "ENABLE_FOR_PRIVILEGE"),
    "EXTERNAL_OAUTH_SNOWFLAKE_USER_MAPPING_ATTRIBUTE": ("LOGIN_NAME",),
}
TEXTS = (
    "EXTERNAL_OAUTH_ISSUER",
    "EXTERNAL_OAUTH_JWS_KEYS_URL",
    "EXTERNAL_OAUTH_TOKEN_USER_MAPPING_CLAIM",
    "EXTERNAL_OAUTH_SCOPE_MAPPING_ATTRIBUTE",
    "EXTERNAL_OAUTH_SCOPE_DELIMITER",
    "COMMENT",
)
TOKEN = re.compile(r"--[^\n]*|\s+|'(?:[^']|'')*'|[A-Za-z_][A-Za-z0-9_$]*|[=(),;]")


class BadSql(ValueError):
    """A statement that this reader, or Snowflake, does not take."""


@dataclass
class User:
    """A user; `login_name` in upper case, because letters count without case."""

    name: str
    login_name: str
    default_role: str | None = None
    roles: set[str] = field(default_factory=lambda: {"PUBLIC"})


@dataclass
class Account:
    """What the statements have set up."""

    integrations: dict[str, dict] = field(default_factory=dict)
    roles: set[str] = field(default_factory=lambda: {"PUBLIC", "SYSADMIN", "USERADMIN", *PRIVILEGED})
    users: dict[str, User] = field(default_factory=dict)
    any_role: set[str] = field(default_factory=set)

    def by_login_name(self, login_name: str) -> User | None:
        return next((user for user in self.users.values() if user.login_name == login_name.upper()), None)

    def run(self, sql: str) -> None:
        for statement in statements(sql):
            Statement(statement).run(self)


def statements(sql: str) -> list[list[str]]:
    found, current, at = [], [], 0
    while at < len(sql):
        match = TOKEN.match(sql, at)
        if not match:
            raise BadSql(f"expected SQL, found {sql[at : at + 30]!r}")
        at, token = match.end(), match.group()
        if token == ";":
            found.append(current)
            current = []
        elif not token.isspace() and not token.startswith("--"):
            current.append(token)
    if current:
        raise BadSql(f"expected ';' after {' '.join(current)!r}")
    return found


class Statement:
    """One statement, read from the left."""

    def __init__(self, tokens: list[str]):
        self.tokens, self.shown = list(tokens), " ".join(tokens)

    def next(self) -> str:
        if not self.tokens:
            raise BadSql(f"expected more after {self.shown!r}")
        return self.tokens.pop(0)

    def takes(self, words: str) -> bool:
        wanted = words.split()
        if [token.upper() for token in self.tokens[: len(wanted)]] != wanted:
            return False
        del self.tokens[: len(wanted)]
        return True

    def name(self) -> str:
        token = self.next()
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", token):
            raise BadSql(f"expected an identifier in {self.shown!r}, found {token!r}")
        return token.upper()

    def value(self) -> str | list[str]:
        token = self.next()
        if token != "(":
            return token
        values = [self.next()]
        while self.takes(","):
            values.append(self.next())
        if not self.takes(")"):
            raise BadSql(f"expected ')' in {self.shown!r}")
        return values

    def parameters(self) -> dict[str, str | list[str]]:
        found = {}
        while self.tokens:
            name = self.name()
            if not self.takes("=") or name in found:
                raise BadSql(f"expected {name} = VALUE once in {self.shown!r}")
            found[name] = self.value()
        return found

    def run(self, account: Account) -> None:
        if self.takes("CREATE SECURITY INTEGRATION"):
            self.takes("IF NOT EXISTS")
            name, parameters = self.name(), self.parameters()
            if missing := [required for required in REQUIRED if required not in parameters]:
                raise BadSql(f"expected {', '.join(missing)} in {self.shown!r}")
            account.integrations[name] = integration(parameters)
        elif self.takes("ALTER SECURITY INTEGRATION"):
            found = account.integrations[self.name()]
            if not self.takes("SET"):
                raise BadSql(f"expected SET in {self.shown!r}")
            found.update(integration(self.parameters()))
            check(found)
        elif self.takes("CREATE ROLE"):
            self.takes("IF NOT EXISTS")
            account.roles.add(self.name())
        elif self.takes("CREATE USER"):
            self.takes("IF NOT EXISTS")
            name = self.name()
            user = account.users.setdefault(name, User(name, name))
            self.change(user, account)
        elif self.takes("ALTER USER"):
            user = account.users[self.name()]
            self.takes("SET")
            self.change(user, account)
        elif self.takes("GRANT ROLE"):
            role = self.name()
            if role not in account.roles or not self.takes("TO USER"):
                raise BadSql(f"expected a role and TO USER in {self.shown!r}")
            account.users[self.name()].roles.add(role)
        elif self.takes("GRANT USE_ANY_ROLE ON INTEGRATION"):
            self.name()
            if not self.takes("TO ROLE"):
                raise BadSql(f"expected TO ROLE in {self.shown!r}")
            account.any_role.add(self.name())
        elif self.takes("USE ROLE"):
            self.name()
        else:
            raise BadSql(f"expected a statement of this set-up, found {self.shown!r}")
        if self.tokens:
            raise BadSql(f"expected the end of {self.shown!r}, found {self.tokens[0]!r}")

    def change(self, user: User, account: Account) -> None:
        for name, value in self.parameters().items():
            if name == "LOGIN_NAME":
                login_name = text(name, value).upper()
                other = account.by_login_name(login_name)
                if other and other is not user:
                    raise BadSql(f"expected a login name of its own, found that of {other.name} in {self.shown!r}")
                user.login_name = login_name
            elif name == "DEFAULT_ROLE":
                user.default_role = str(value).strip("'").upper()
            elif name != "TYPE":
                raise BadSql(f"expected LOGIN_NAME, DEFAULT_ROLE or TYPE, found {name} in {self.shown!r}")


def integration(parameters: dict) -> dict:
    """The parameters of CREATE or ALTER as values."""
    found = {}
    for name, value in parameters.items():
        if name in LISTS:
            found[name] = [text(name, item) for item in ([value] if isinstance(value, str) else value)]
        elif name in WORDS:
            found[name] = str(value).strip("'").upper()
            if found[name] not in WORDS[name]:
                raise BadSql(f"expected {name} to be one of {', '.join(WORDS[name])}, found {value}")
        elif name in TEXTS:
            found[name] = text(name, value)
        else:
            raise BadSql(f"expected parameters of External OAuth, found {name}")
    return check(found)


def check(found: dict) -> dict:
    if "EXTERNAL_OAUTH_ALLOWED_ROLES_LIST" in found and "EXTERNAL_OAUTH_BLOCKED_ROLES_LIST" in found:
        raise BadSql("expected allowed or blocked roles, found both")
    if found.get("EXTERNAL_OAUTH_SCOPE_MAPPING_ATTRIBUTE", "scp") not in ("scp", "scope"):
        raise BadSql("expected EXTERNAL_OAUTH_SCOPE_MAPPING_ATTRIBUTE to be scp or scope")
    if len(found.get("EXTERNAL_OAUTH_SCOPE_DELIMITER", ",")) != 1:
        raise BadSql("expected EXTERNAL_OAUTH_SCOPE_DELIMITER to be one character")
    # Snowflake takes https only. Loopback is the one exception of this stand-in: nothing here has a certificate.
    url = urlsplit(found.get("EXTERNAL_OAUTH_JWS_KEYS_URL", "https://unchanged"))
    if url.scheme != "https" and (url.scheme, url.hostname) != ("http", "127.0.0.1"):
        raise BadSql("expected EXTERNAL_OAUTH_JWS_KEYS_URL to begin https://")
    return found


def text(name: str, value: str | list[str]) -> str:
    if isinstance(value, list) or not value.startswith("'"):
        raise BadSql(f"expected {name} = '…', found {value!r}")
    return value[1:-1].replace("''", "'")
