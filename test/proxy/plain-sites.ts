/** Services with `auth: psk` at the key managers of the simulator, and keys drawn from them as a stock peer's operator would. */
import { createKeySource, MemoryLedger, systemClock } from '../../kdi-client/index.ts';
import type { KmeConfig, ServiceConfig } from '../../proxy/config/index.ts';
import type { KmeSettings } from '../../proxy/key-service/kme.ts';
import { PlainServerKeys } from '../../proxy/key-service/plain-server-keys.ts';
import { startServices } from '../../proxy/services.ts';
import { call } from '../qkd-sim/kme/https-fixture.ts';
import { type KmePair, testPki } from '../qkd-sim/kme/kme-fixture.ts';
import { CapturedLog, loadedService } from './sites.ts';

type Api = 'etsi004' | 'etsi014' | 'skip';

export async function kmeTlsOf(sae: 'siteA' | 'siteB') {
  const pki = await testPki();
  return { cert: pki[sae].certPem, key: pki[sae].keyPem, ca: pki.ca.certPem };
}

export function kmeOf(kmes: KmePair, side: 'a' | 'b', api: Api): KmeConfig {
  const [port004, https] = side === 'a' ? [kmes.portA, kmes.httpsA] : [kmes.portB, kmes.httpsB];
  return {
    url: `${api}://127.0.0.1:${api === 'etsi004' ? port004 : https}`,
    weight: 1,
    access: { by: 'certificate', credentials: { cert: '', key: '', ca: '' } },
    settings: {},
  };
}

/** What the program makes of it, with the files of one SAE. */
export async function loadedKme({ url, settings }: KmeConfig, sae: 'siteA' | 'siteB'): Promise<KmeSettings> {
  return { url, ...settings, tls: await kmeTlsOf(sae) };
}

export function plainService(kme: KmeConfig): Partial<ServiceConfig> {
  return {
    auth: 'psk',
    kmes: [kme],
    policy: { require: 'qkd', because: 'auth: psk', unsafeAllowClassical: false, keyWaitMs: 5_000 },
    cipherSuites: ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'],
  };
}

/** A server service of SAE siteB alone. */
export async function startPlainServer(
  kmes: KmePair,
  backend: ServiceConfig['connect'],
  more: Partial<ServiceConfig> = {},
) {
  const log = new CapturedLog();
  const kme = kmeOf(kmes, 'b', 'etsi014');
  const service = await loadedService({ mode: 'server', connect: backend, ...plainService(kme), ...more });
  const { identity: _, trust: __, ...withoutCertificates } = service;
  const loaded = await Promise.all(service.config.kmes.map((one) => loadedKme(one, 'siteB')));
  const proxy = await startServices([{ ...withoutCertificates, kmes: loaded }], { log: log.log });
  return {
    log,
    address: proxy.tunnels[0]?.address as { host: string; port: number },
    close: () => proxy.close(),
  };
}

export async function plainServerKeysOf(kmes: KmePair): Promise<PlainServerKeys> {
  return new PlainServerKeys({
    ownSae: 'siteB',
    peerSae: 'siteA',
    source: createKeySource({ url: kmeOf(kmes, 'b', 'etsi014').url, saeId: 'siteB', tls: await kmeTlsOf('siteB') }),
    clock: systemClock,
    log: new CapturedLog().log,
    keyTtlMs: 60_000,
    quota: 16,
    ledger: new MemoryLedger({ nowMs: () => systemClock.now() }),
  });
}

export interface DrawnKey {
  readonly id: string;
  readonly key: Buffer;
  readonly hex: string;
}

/** A key for siteB, as SAE siteA gets it from its key manager. */
export async function drawKey(kmes: KmePair): Promise<DrawnKey> {
  const { json } = await call(kmes.httpsA, 'siteA', '/api/v1/keys/siteB/enc_keys?number=1&size=256');
  return keyOf(json);
}

/** The same key at the other end, by its name. */
export async function fetchKey(kmes: KmePair, id: string): Promise<DrawnKey> {
  const body = { key_IDs: [{ key_ID: id }] };
  const { json } = await call(kmes.httpsB, 'siteB', '/api/v1/keys/siteA/dec_keys', { body });
  return keyOf(json);
}

function keyOf(container: { keys: { key_ID: string; key: string }[] }): DrawnKey {
  const [{ key_ID: id, key: base64 } = { key_ID: '', key: '' }] = container.keys;
  const key = Buffer.from(base64, 'base64');
  return { id, key, hex: key.toString('hex') };
}
