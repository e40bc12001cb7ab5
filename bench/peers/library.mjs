// npm jose: measures itself. One JSON line in, one out; the first line says what to work on.
import { createInterface } from 'node:readline'
import { SignJWT, importPKCS8, importSPKI, jwtVerify } from 'jose'
import { createPrivateKey, createPublicKey } from 'node:crypto'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const task = JSON.parse((await lines.next()).value)
const { algorithm, claims, kid } = task
const key = await importPKCS8(task.pem, algorithm)
const spki = createPublicKey(createPrivateKey(task.pem)).export({ type: 'spki', format: 'pem' })
const publicKey = await importSPKI(spki, algorithm)
const checks = { issuer: task.issuer, audience: task.audience, typ: 'JWT', algorithms: [algorithm], requiredClaims: ['exp'], clockTolerance: 60 }
const operations = {
  encode: () => new SignJWT(claims).setProtectedHeader({ typ: 'JWT', alg: algorithm, kid }).sign(key),
  verify: () => jwtVerify(task.token, publicKey, checks),
}
console.log(JSON.stringify({ ready: true }))

for (;;) {
  const { value, done } = await lines.next()
  if (done) break
  const { operation, count } = JSON.parse(value)
  const run = operations[operation]
  let last
  const start = process.cpuUsage()
  for (let i = 0; i < count; i++) last = await run()
  const { user, system } = process.cpuUsage(start)
  console.log(JSON.stringify({ cpu_s: (user + system) / 1e6, token: typeof last === 'string' ? last : null }))
}
