// Makes a key and DPoP proofs with the package dpop, and prints them: dpop_proof.mjs ALG METHOD URL [NONCE]
//
// Prints {"thumbprint","proofs":[two of them, by the same key]}. Needs: npm install dpop

import * as DPoP from "dpop";

const [alg, method, url, nonce] = process.argv.slice(2);
const pair = await DPoP.generateKeyPair(alg);
const proof = () => DPoP.generateProof(pair, url, method, nonce);
console.log(JSON.stringify({
  thumbprint: await DPoP.calculateThumbprint(pair.publicKey),
  proofs: [await proof(), await proof()],
}));
