// Verifies a token with jose and prints its header, claims and key thumbprint: node verify.mjs ISSUER AUDIENCE TOKEN
//
// The issuer and the algorithms are fixed here, never taken from the token. Needs: npm install jose

import { calculateJwkThumbprint, createRemoteJWKSet, errors, exportJWK, jwtVerify } from "jose";

const [issuer, audience, token] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));

try {
  const { payload, protectedHeader, key } = await jwtVerify(token, keys, {
    issuer,
    audience,
    algorithms: ["RS256", "PS256", "ES256", "ES384", "EdDSA"],
    requiredClaims: ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"],
  });
  const thumbprint = await calculateJwkThumbprint(await exportJWK(key));
  console.log(JSON.stringify({ header: protectedHeader, claims: payload, thumbprint }));
} catch (error) {
  if (!(error instanceof errors.JOSEError)) throw error;
  console.error(`refused: ${error.code}: ${error.message}`);
  process.exit(1);
}
