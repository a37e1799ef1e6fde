/**
 * One end of our pair for PSK-only handshakes: a tunnel as the program runs it,
 * with `auth: psk` and a pool that is full from the start. Argument: JSON
 * {role, connect, group, keys}; `keys` is a file of lines `identity:secret`
 * in hex, in the order in which they are used.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

const dist = (path) => import(new URL(`../../../dist/${path}`, import.meta.url).href);
const [{ BulkBufferPool }, { createLog }, { startClientTunnel }, { startServerTunnel }, { DEFAULT_LIMITS }, tls] =
  await Promise.all([
    dist('proxy/data-path/index.js'),
    dist('proxy/log.js'),
    dist('proxy/tunnel/client-tunnel.js'),
    dist('proxy/tunnel/server-tunnel.js'),
    dist('proxy/tunnel/settings.js'),
    dist('tls-ext/index.js'),
  ]);

const { role, connect, group, keys: file } = JSON.parse(process.argv[2]);
const pool = readFileSync(file, 'utf8')
  .trim()
  .split('\n')
  .map((line) => line.split(':'));
const pskOf = ([identity, secret]) => ({
  kind: 'plain',
  identity: tls.fromHex(identity),
  secret: new tls.SecretBytes(tls.fromHex(secret)),
});

let next = 0;
const clientKeys = {
  peerRequirement: undefined,
  take() {
    const key = pool[next++];
    if (key === undefined) return { reason: 'pool_empty' };
    return { lease: { psk: pskOf(key), keyId: key[0], commit() {}, release() {} } };
  },
  takeWithin: async () => ({ reason: 'pool_empty' }),
};

const byIdentity = new Map(pool.map((key) => [key[0], key]));
const serverKeys = {
  lookUp({ offered: [first] }) {
    const name = tls.hexOf(first.identity);
    const key = byIdentity.get(name);
    if (key === undefined) return { why: 'unavailable', reason: 'reference_unavailable' };
    return { decision: { action: 'use', psk: pskOf(key) }, keyId: name, burn: () => byIdentity.delete(name) };
  },
};

const [ownSae, peerSae] = role === 'client' ? ['siteA', 'siteB'] : ['siteB', 'siteA'];
const options = {
  settings: {
    service: role,
    accept: { host: '127.0.0.1', port: 0 },
    connect: { host: '127.0.0.1', port: connect },
    ownSae,
    auth: 'psk',
    peer: { trust: { bySubject: new Map(), certificates: [] }, peerSae: [peerSae] },
    policy: { require: 'qkd', unsafeAllowClassical: false, keyWaitMs: 5_000 },
    limits: DEFAULT_LIMITS,
    rekeyAfter: { timeMs: 0, connections: 1 },
    tickets: 0,
    groups: [tls.NamedGroup[group]],
    cipherSuites: [tls.CipherSuite.aes128GcmSha256],
    signatureSchemes: tls.signatureSchemes.map(({ codePoint }) => codePoint),
  },
  log: createLog(),
  bufferPool: new BulkBufferPool(),
  random: randomBytes,
};
if (role === 'client') await startClientTunnel({ ...options, keys: clientKeys });
else await startServerTunnel({ ...options, keys: serverKeys });
