"""moto's server, answering as AWS does where moto differs in a way that OpenTofu stumbles over.

Usage: python moto_server.py -H 127.0.0.1 -p PORT
"""

import json
import sys

from moto.apigateway.models import RestAPI
from moto.awslambda.models import LambdaFunction
from moto.server import main


def escape_policy() -> None:
    """GetRestApi gives the resource policy with its quotes escaped, as the inside of a JSON string; moto gives it plain."""
    plain = RestAPI.to_dict

    def to_dict(self):
        answer = plain(self)
        if answer.get("policy"):
            answer["policy"] = json.dumps(answer["policy"])[1:-1]
        return answer

    RestAPI.to_dict = to_dict


def omit_empty_image_config() -> None:
    """A function from an image has ImageConfigResponse only when something of the image is overridden; moto always."""
    always = LambdaFunction.get_configuration

    def get_configuration(self, on_create=False):
        answer = always(self, on_create=on_create)
        if not any(answer.get("ImageConfigResponse", {}).get("ImageConfig", {}).values()):
            answer.pop("ImageConfigResponse", None)
        return answer

    LambdaFunction.get_configuration = get_configuration


if __name__ == "__main__":
    escape_policy()
    omit_empty_image_config()
    main(sys.argv[1:])
