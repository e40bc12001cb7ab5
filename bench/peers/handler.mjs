// The issuer as a small Node function: npm jose, the AWS SDK when its documents are in AWS, and a minimal runtime loop.
//
// It does what `jwt-issuer` does for this one event: identity from the request context, organization, rule, claims, key that
// is published, RS256 or ES256 signature, a decision record. It proves nothing about its rules and checks far less.
import { createPrivateKey, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { SignJWT } from 'jose'

const env = process.env

async function parameter(name) {
  const { SSMClient, GetParameterCommand } = await import('@aws-sdk/client-ssm')
  const found = await new SSMClient({}).send(new GetParameterCommand({ Name: name, WithDecryption: true }))
  return found.Parameter.Value
}

async function secret(name) {
  const { SecretsManagerClient, GetSecretValueCommand } = await import('@aws-sdk/client-secrets-manager')
  const found = await new SecretsManagerClient({}).send(new GetSecretValueCommand({ SecretId: name, VersionStage: 'AWSCURRENT' }))
  return found.SecretString ?? Buffer.from(found.SecretBinary).toString()
}

function read(location) {
  const [scheme, name] = location.split(/:(.*)/s)
  return scheme === 'file' ? readFile(name, 'utf8') : parameter(name)
}

async function load() {
  const [ring, published, rules] = await Promise.all([
    env.KEY_RING ? read(env.KEY_RING) : secret(env.SIGNING_KEY_SECRET_ARN),
    read(env.JWKS ?? `ssm:${env.JWKS_SSM_PARAM}`),
    read(env.RULES),
  ])
  const since = (key) => Date.parse(key.signs_from)
  const signing = JSON.parse(ring).keys.filter((key) => key.signs_from && since(key) <= Date.now())
  const active = signing.sort((a, b) => since(b) - since(a))[0]
  if (!JSON.parse(published).keys.some((key) => key.kid === active.kid)) throw new Error('the signing key is not published')
  const key = createPrivateKey({ key: Buffer.from(active.private.pkcs8, 'base64'), format: 'der', type: 'pkcs8' })
  return { kid: active.kid, alg: active.alg, key, rules: JSON.parse(rules) }
}

function answer(statusCode, body) {
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
  return { statusCode, headers, body: JSON.stringify(body), isBase64Encoded: false }
}

async function handler({ kid, alg, key, rules }, event) {
  const decision_id = randomUUID()
  const { userArn, accountId, caller, principalOrgId } = event.requestContext.identity
  const [head, resource = ''] = userArn.split(':assumed-role/')
  const [role, session] = resource.split('/')
  const account = head.slice(head.lastIndexOf(':') + 1)
  if (account !== accountId || !caller.endsWith(`:${session}`) || principalOrgId !== env.ORGANIZATION_ID) {
    return answer(403, { error: 'access_denied', decision_id })
  }
  const rule = rules.find((rule) => account === rule.account && role.startsWith(rule.role_prefix))
  if (!rule) return answer(403, { error: 'access_denied', decision_id })
  const now = Math.floor(Date.now() / 1000)
  const scope = rule.scopes.join(' ')
  const claims = {
    iss: env.JWT_ISSUER_URL, sub: `${account}/${role.toUpperCase()}`, aud: rule.audience, iat: now, nbf: now,
    exp: now + rule.ttl, jti: randomUUID(), scope,
  }
  const token = await new SignJWT(claims).setProtectedHeader({ typ: 'JWT', alg, kid }).sign(key)
  console.log(JSON.stringify({ decision_id, outcome: 'issued', subject: claims.sub, kid, jti: claims.jti }))
  return answer(200, { token, access_token: token, token_type: 'Bearer', expires_in: rule.ttl, scope, decision_id })
}

const agent = new Agent({ keepAlive: true })
const [host, port] = env.AWS_LAMBDA_RUNTIME_API.split(':')

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = body ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } : {}
    const sent = request({ host, port, method, path: `/2018-06-01/runtime/invocation/${path}`, agent, headers }, (response) => {
      const chunks = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

async function main() {
  const issuer = await load()
  for (;;) {
    const event = await call('GET', 'next')
    const response = await handler(issuer, JSON.parse(event.body))
    await call('POST', `${event.headers['lambda-runtime-aws-request-id']}/response`, JSON.stringify(response))
  }
}

main()
