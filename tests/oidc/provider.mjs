// A real OpenID Connect provider on loopback. Its configuration is JSON in PROVIDER: {issuer, port, clients, people, whole}.
// With `whole`, ID tokens have all claims; otherwise those are at the userinfo endpoint, as the specification says.
import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import path from 'node:path'

const { issuer, port, clients, people, whole } = JSON.parse(process.env.PROVIDER)
const { Provider } = createRequire(path.join(process.env.PROVIDER_MODULES, 'any.js'))('oidc-provider')

const pairs = [
  ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
  ['Ed25519', generateKeyPairSync('ed25519')],
]
const provider = new Provider(issuer, {
  clients,
  jwks: { keys: pairs.map(([alg, { privateKey }]) => ({ ...privateKey.export({ format: 'jwk' }), alg, use: 'sig' })) },
  cookies: { keys: ['a secret of this process'] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
  conformIdTokenClaims: !whole,
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'ES256', 'Ed25519'] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  pkce: { required: () => true },
})
createServer(provider.callback()).listen(port, '127.0.0.1', () => console.log('ready'))
