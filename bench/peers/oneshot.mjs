// npm jose: the init container's work. OUTPUT_PATH gets a token, whole or not at all; JWT_SECRET_KEY or KEY_FILE signs it.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { randomUUID } from 'node:crypto'
import { SignJWT, importPKCS8 } from 'jose'

const { JWT_SECRET_KEY, KEY_FILE, KID, OUTPUT_PATH, SERVICE_NAME } = process.env
const now = Math.floor(Date.now() / 1000)
const claims = { iss: 'jwt-generator', sub: SERVICE_NAME, iat: now, nbf: now, exp: now + 3600, jti: randomUUID() }
const header = KEY_FILE ? { typ: 'JWT', alg: 'ES256', kid: KID } : { typ: 'JWT', alg: 'HS256' }
const key = KEY_FILE ? await importPKCS8(readFileSync(KEY_FILE, 'utf8'), 'ES256') : new TextEncoder().encode(JWT_SECRET_KEY)
const token = await new SignJWT(claims).setProtectedHeader(header).sign(key)
const temporary = `${OUTPUT_PATH}.${randomUUID()}`
const file = openSync(temporary, 'wx', 0o600)
writeSync(file, token)
fsyncSync(file)
closeSync(file)
renameSync(temporary, OUTPUT_PATH)
const folder = openSync(dirname(OUTPUT_PATH), 'r')
fsyncSync(folder)
closeSync(folder)
console.log(`JWT successfully written to ${OUTPUT_PATH}`)
