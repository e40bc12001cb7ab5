// Gets a token with the AWS credentials at hand: node get_token.mjs URL [REGION]
//
// URL is the issuer's, as in https://issuer.example; credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN. Prints the token. Needs: npm install aws4

import aws4 from "aws4";

const [url, region = "eu-west-1"] = process.argv.slice(2);
const endpoint = new URL(`${url}/token`);
const body = JSON.stringify({ expires_in: 600 });

const { headers } = aws4.sign({
  service: "execute-api",
  region,
  method: "POST",
  host: endpoint.host,
  path: endpoint.pathname,
  headers: { "Content-Type": "application/json" },
  body,
});
delete headers.Host; // fetch sets it, to the same
delete headers["Content-Length"];
const response = await fetch(endpoint, { method: "POST", headers, body, signal: AbortSignal.timeout(30_000) });
const answer = await response.text();

if (!response.ok) {
  console.error(`no token: HTTP ${response.status} ${answer}`);
  process.exit(1);
}
console.log(JSON.parse(answer).access_token);
