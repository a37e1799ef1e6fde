/**
 * One end's key management as a process of its own, from the program's build:
 * the whole key service of a proxy, with its key channel over TLS, and no
 * connection of an application. The drawer takes and commits keys at even
 * intervals, as handshakes would, so many a second as the last line on stdin
 * said; the answerer looks up and burns those whose references it reads there.
 * Each line to the drawer, and `collect` to the answerer, begins with the
 * garbage of before collected. In modes `bare-client` and
 * `bare-server` there is no key service: timer, lines and reports are those of
 * the drawer or the answerer, which is what the measurement itself costs.
 * A line of JSON a second says {used, waitsMs, withoutKey, cpuMicroseconds}: the
 * references of the keys that were used since the last one, how long each took,
 * how many were not there, and the CPU time since the start. The answerer's
 * first line has the `address` at which it listens.
 *
 * Argument: JSON {mode, settings}; `settings` as of a client's or server's service in a configuration file.
 */
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';

const dist = (path) => import(new URL(`../../dist/${path}`, import.meta.url).href);
const [
  { loadCredentials, parseConfig },
  { addressText, BulkBufferPool },
  { KeyServices },
  { createLog },
  { openLedger, systemClock },
  { startServerTunnel },
  tls,
] = await Promise.all([
  dist('proxy/config/index.js'),
  dist('proxy/data-path/index.js'),
  dist('proxy/key-services.js'),
  dist('proxy/log.js'),
  dist('proxy/psk-resolver.js'),
  dist('proxy/tunnel/server-tunnel.js'),
  dist('tls-ext/index.js'),
]);

/** Where keys of a simulator may be used. */
const LOOPBACK = '127.0.0.1:1';

const { mode, settings } = JSON.parse(process.argv[2]);
const keyService = mode.startsWith('bare-') ? undefined : await openKeyService();

const used = [];
/** How long each key took to be had, as a connection asks for it before its handshake. */
const waitsMs = [];
let withoutKey = 0;
// Ends with whoever started it.
const told = createInterface(process.stdin).on('close', () => process.exit());
if (mode === 'bare-client') {
  const reference = { api: 'skip', drawer: 'siteA', keyId: randomBytes(16) };
  atEvenIntervals(() => used.push(reference));
} else if (mode === 'bare-server') {
  atEachReference((reference) => used.push(reference));
} else {
  const { service, keys, tunnel, ports } = keyService;
  if (mode === 'client') {
    const drawer = keys.clientKeys(service, tunnel, ports);
    atEvenIntervals(() => spend(drawer));
  } else {
    const serving = keys.serverKeys(service);
    const { address } = await startServerTunnel({ ...ports, settings: tunnel, ...serving });
    report({ address: addressText(address) });
    atEachReference((reference) => burn(serving.keys, reference));
  }
}
setInterval(() => report({}), 1_000);

async function openKeyService() {
  const [config] = parseConfig(JSON.stringify({ services: [settings] }), './bench.yaml').services;
  const { identity, trust } = await loadCredentials(config.credentials);
  const service = { config, identity, trust, kmes: await Promise.all(config.kmes.map(withFiles)) };
  const log = createLog({ level: 'info' });
  const keys = new KeyServices([service], { log, clock: systemClock, ledger: await openLedger(undefined) });
  const tunnel = {
    ...config,
    service: config.name,
    ownSae: config.sae,
    peer: { trust, peerSae: config.peerSae, requireAuth: config.requireAuth },
    groups: [tls.NamedGroup.x25519MlKem768],
    cipherSuites: [tls.CipherSuite.aes256GcmSha384],
    signatureSchemes: tls.signatureSchemes.map(({ codePoint }) => codePoint),
  };
  const ports = {
    log,
    bufferPool: new BulkBufferPool(),
    random: randomBytes,
    identity: { chain: identity.chainDer, ...tls.signingKeyFromPkcs8(identity.privateKeyPkcs8) },
  };
  return { service, keys, tunnel, ports };
}

/** As often a second as the last line on stdin said. */
function atEvenIntervals(spendOne) {
  let timer;
  told.on('line', (timesPerSecond) => {
    clearInterval(timer);
    globalThis.gc();
    timer = setInterval(spendOne, 1_000 / Number(timesPerSecond));
  });
}

function atEachReference(useOne) {
  told.on('line', (line) => {
    if (line === 'collect') globalThis.gc();
    else for (const reference of line.split(' ')) useOne(tls.decodeQkdKeyReference(tls.fromHex(reference)));
  });
}

function report(more) {
  const { user, system } = process.cpuUsage();
  const said = {
    ...more,
    used: used.splice(0).map((reference) => tls.hexOf(tls.encodeQkdKeyReference(reference))),
    waitsMs: waitsMs.splice(0),
    withoutKey,
    cpuMicroseconds: user + system,
  };
  withoutKey = 0;
  process.stdout.write(`${JSON.stringify(said)}\n`);
}

/** What a client does with a key, but for the handshake. */
function spend(drawer) {
  const askedMs = performance.now();
  const { lease } = drawer.take();
  const hadMs = performance.now();
  if (lease === undefined) {
    withoutKey++;
    return;
  }
  waitsMs.push(hadMs - askedMs);
  used.push(lease.psk.reference);
  lease.psk.secret.wipe();
  lease.commit();
}

/** The same for a server. */
function burn(answerer, reference) {
  const answer = answerer.lookUp({ offered: [{ reference }], certWithExternPsk: true }, LOOPBACK);
  if (answer.decision === undefined || !answer.burn()) throw new Error('no key of this reference');
  answer.decision.psk.secret.wipe();
  used.push(reference);
}

async function withFiles({ url, access, weight, settings }) {
  const { certPem: cert, keyPem: key, caPem: ca } = await loadCredentials(access.credentials);
  return { url, weight, ...settings, tls: { cert, key, ca } };
}
