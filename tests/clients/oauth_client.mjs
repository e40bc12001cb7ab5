// A client of the token service with openid-client, and a resource server with oauth4webapi:
//   oauth_client.mjs ISSUER AUDIENCE CLIENT_ID CLIENT_SECRET [PRIVATE_JWK]
//   oauth_client.mjs key: prints a key pair, {"private","public"}
//
// With PRIVATE_JWK (JSON) the client proves itself by private_key_jwt, else by its secret, in both ways. Prints what it has seen
// as one JSON object. Needs: npm install openid-client oauth4webapi dpop

import * as client from "openid-client";
import * as oauth from "oauth4webapi";
import * as DPoP from "dpop";

const [issuer, audience, id, secret, jwk] = process.argv.slice(2);
if (issuer === "key") {
  const { privateKey } = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  const { kty, crv, x, y, d } = await crypto.subtle.exportKey("jwk", privateKey);
  const both = { kty, crv, x, y, alg: "ES256", kid: "web-1" };
  console.log(JSON.stringify({ private: { ...both, d }, public: { ...both, use: "sig" } }));
  process.exit();
}
const seen = {};
const insecure = { algorithm: "oauth2", execute: [client.allowInsecureRequests] };

async function authentications() {
  if (!jwk) return { basic: client.ClientSecretBasic(secret), post: client.ClientSecretPost(secret) };
  const { alg, kid, ...key } = JSON.parse(jwk);
  const algorithm = alg === "EdDSA" ? "Ed25519" : { name: "ECDSA", namedCurve: "P-256" };
  return { private_key_jwt: client.PrivateKeyJwt({ key: await crypto.subtle.importKey("jwk", key, algorithm, false, ["sign"]), kid }) };
}

for (const [name, authentication] of Object.entries(await authentications())) {
  const config = await client.discovery(new URL(issuer), id, {}, authentication, insecure);
  const first = await client.clientCredentialsGrant(config, { scope: "read offline_access" });
  const second = await client.refreshTokenGrant(config, first.refresh_token);
  const before = await client.tokenIntrospection(config, second.access_token);
  await client.tokenRevocation(config, second.refresh_token);
  const after = await client.tokenIntrospection(config, second.access_token);
  const refused = await client.refreshTokenGrant(config, second.refresh_token).then(() => null, (error) => error.error);
  seen[name] = { token_type: first.token_type, rotated: first.refresh_token !== second.refresh_token, active: [before.active, after.active], sub: before.sub, refused };

  // Bound to a key; the server's nonces are found by the package itself.
  const pair = await client.randomDPoPKeyPair("ES256");
  const handle = client.getDPoPHandle(config, pair);
  const bound = await client.clientCredentialsGrant(config, { scope: "read offline_access" }, { DPoP: handle });
  const next = await client.refreshTokenGrant(config, bound.refresh_token, undefined, { DPoP: handle });
  const bare = await client.refreshTokenGrant(config, next.refresh_token).then(() => null, (error) => error.error);

  // At /authorize, where the original request's path is behind the prefix.
  const authorize = async (nonce) => {
    const proof = await DPoP.generateProof(pair, `${issuer}/orders/1`, "PUT", nonce, next.access_token);
    return fetch(`${issuer}/authorize/orders/1`, { method: "PUT", headers: { authorization: `DPoP ${next.access_token}`, dpop: proof } });
  };
  let answer = await authorize(undefined);
  const asked = answer.headers.get("www-authenticate") ?? "";
  if (answer.status === 401 && asked.includes("use_dpop_nonce")) answer = await authorize(answer.headers.get("dpop-nonce"));
  const asBearer = await fetch(`${issuer}/authorize/orders/1`, { headers: { authorization: `Bearer ${next.access_token}` } });

  // A resource server that nobody here wrote takes the token (RFC 9068), with its proof.
  const server = await oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer), { algorithm: "oauth2", [oauth.allowInsecureRequests]: true }));
  const proof = await DPoP.generateProof(pair, "https://api.example/orders", "GET", undefined, next.access_token);
  const request = new Request("https://api.example/orders", { headers: { authorization: `DPoP ${next.access_token}`, dpop: proof } });
  const claims = await oauth.validateJwtAccessToken(server, request, audience, { [oauth.allowInsecureRequests]: true });
  seen[name].dpop = {
    token_type: next.token_type,
    bare,
    nonce: asked.includes("use_dpop_nonce"),
    authorize: answer.status,
    subject: answer.headers.get("x-subject"),
    bearer: asBearer.status,
    bound: claims.cnf.jkt === await DPoP.calculateThumbprint(pair.publicKey),
  };
}
console.log(JSON.stringify(seen));
