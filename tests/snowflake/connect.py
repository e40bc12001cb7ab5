"""Logs in with the Snowflake connector: connect.py PORT USER ROLE, the token on standard input

USER and ROLE may be empty. Prints {"user", "role"} as the session knows them, or {"refused": MESSAGE}. Needs:
pip install snowflake-connector-python
"""

import json
import sys

import snowflake.connector

port, user, role = sys.argv[1:]
wanted = {name: value for name, value in (("user", user), ("role", role)) if value}
try:
    connection = snowflake.connector.connect(
        account="acme",
        host="127.0.0.1",
        port=int(port),
        protocol="http",
        authenticator="oauth",
        token=sys.stdin.read().strip(),
        login_timeout=30,
        **wanted,
    )
except snowflake.connector.errors.DatabaseError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()

session = connection.cursor().execute("SELECT CURRENT_USER(), CURRENT_ROLE()").fetchone()
connection.close()
print(json.dumps({"user": session[0], "role": session[1]}))
