"""Gets a token with the AWS credentials at hand: get_token.py URL [REGION]

URL is the issuer's, as in https://issuer.example; credentials come from wherever the AWS SDK finds them (AWS_ACCESS_KEY_ID
and so on, a profile, the role of the machine). Prints the token. Needs: pip install botocore
"""

import json
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.session import Session

url, region = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "eu-west-1"
body = json.dumps({"expires_in": 600})

request = AWSRequest("POST", f"{url}/token", data=body, headers={"Content-Type": "application/json"})
SigV4Auth(Session().get_credentials(), "execute-api", region).add_auth(request)
response = URLLib3Session().send(request.prepare())

if response.status_code != 200:
    sys.exit(f"no token: HTTP {response.status_code} {response.text}")
print(json.loads(response.text)["access_token"])
