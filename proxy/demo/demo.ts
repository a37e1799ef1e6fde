/**
 * `qstunnel demo`: the whole line on one machine, from photons to application
 * bytes and back through an attack. Every statement it makes is checked against
 * what the parts reported by themselves; nothing is scripted.
 */
import { randomBytes } from 'node:crypto';
import { startSimulator } from '../../qkd-sim/index.ts';
import { TemporaryFolder } from '../temporary-folder.ts';
import { askHttp, askTcp, startHttpApp, startTcpApp } from './legacy-apps.ts';
import { LinkWatch } from './link-watch.ts';
import { type ObservedConnection, observe } from './observed-connection.ts';
import { KEY_CHUNK_BYTES, KEY_WAIT, KEYS_AHEAD } from './site-configs.ts';
import { type CleanUps, makeCertificates, SAE_A, SAE_B, SERVICES, type ServiceName, startSites } from './sites.ts';
import { Tap } from './tap.ts';
import { count, countBy, percent } from './text.ts';
import type { DemoView } from './view.ts';

export interface DemoOptions {
  readonly lengthKm: number;
  /** Fraction of the pulses that the eavesdropper intercepts in step 5. */
  readonly interceptFraction: number;
  readonly view: DemoView;
  /** Aborts the story; everything is cleaned up all the same. */
  readonly signal: AbortSignal;
  /** Called with all still running, before the clean-up: what `--keep` waits in. */
  readonly keep?: (scene: DemoScene) => Promise<void>;
}

/** What is running, for `--keep` to describe. */
export interface DemoScene {
  readonly folder: string;
  readonly files: Readonly<Record<string, string>>;
  readonly ports: Readonly<Record<string, number>>;
  readonly kmes: readonly string[];
}

/** The object that `--json` prints. */
export interface DemoResult {
  readonly link: {
    readonly preset: string;
    readonly lengthKm: number;
    /** Error rate, 0 to 1. */
    readonly qber: number;
    readonly skrBitsPerSecond: number;
    readonly siftedBitsPerSecond: number;
    /** Link time that the block took. */
    readonly simulatedSeconds: number;
    readonly wallSeconds: number;
    readonly secretBits: number;
    readonly underAttack: { readonly qber: number; readonly secretBits: number; readonly aborted?: string };
  };
  readonly connections: readonly ObservedConnection[];
  readonly tap: { readonly markerInTunnel: boolean; readonly markerInControl: boolean; readonly recordedBytes: number };
  /** Each statement of the demo and whether it was observed. */
  readonly checks: readonly { readonly claim: string; readonly observed: boolean }[];
  readonly ok: boolean;
}

/** Keys that each KME holds for each direction; what a block yields beyond that is dropped. */
const STORE_KEYS = 32;
/** More connections than all stores and pools can have keys for: a bound for loops that wait for them to run dry. */
const MAX_DRAINING_CONNECTIONS = 40 * (STORE_KEYS + KEYS_AHEAD);

/** Runs the story and cleans up after it. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const cleanUps: CleanUps = [];
  const cleanUp = async () => {
    for (let step = cleanUps.pop(); step !== undefined; step = cleanUps.pop()) await step();
  };
  const { signal } = options;
  const story = tell(options, cleanUps);
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([story, aborted]);
  } finally {
    await cleanUp();
    // An aborted story ends soon after, for want of actors; what it still started goes too.
    await story.catch(() => {});
    await cleanUp();
  }
}

async function tell(options: DemoOptions, cleanUps: CleanUps): Promise<DemoResult> {
  const { view, signal } = options;
  const checks: { claim: string; observed: boolean }[] = [];
  const check = (claim: string, observed: boolean) => {
    checks.push({ claim, observed });
    view.check(claim, observed);
  };
  const connections: ObservedConnection[] = [];
  const marker = `MARKER-${randomBytes(16).toString('hex')}`;

  view.heading(1, 'Certificates');
  const workspace = new TemporaryFolder('qstunnel-demo-');
  cleanUps.push(() => workspace.remove());
  const pki = await makeCertificates(workspace.path);
  view.line(`a throwaway CA, two key managers, two proxies, in ${workspace.path}`);

  view.heading(2, `A ${options.lengthKm} km QKD link`);
  const wallStart = performance.now();
  const simulator = await startSimulator({
    preset: 'metro',
    lengthKm: options.lengthKm,
    speed: Number.POSITIVE_INFINITY,
    storeKeysPerDirection: STORE_KEYS,
    surplus: 'drop',
    kmes: [
      { kmeId: 'kme-a', saeIds: [SAE_A], tls: pki.kmeA, host: '127.0.0.1', port: 0 },
      { kmeId: 'kme-b', saeIds: [SAE_B], tls: pki.kmeB, host: '127.0.0.1', port: 0 },
    ],
  });
  cleanUps.push(() => simulator.close());
  const link = new LinkWatch(simulator, view);
  const healthy = await link.block((report) => report.deliveredBits > 0, 'a first block of key', signal);
  const wallSeconds = (performance.now() - wallStart) / 1000;
  view.line(
    `${count(healthy.pulses)} pulses, ${count(healthy.detections)} detections, ${count(healthy.siftedBits)} sifted bits in ` +
      `${healthy.linkSeconds.toFixed(1)} s of link time (${wallSeconds.toFixed(1)} s here)`,
  );
  view.line(
    `QBER ${percent(healthy.qber)}, ${count(healthy.finalKeyBits)} secret bits after error correction and privacy ` +
      `amplification: ${(healthy.skrBitsPerSecond / 1000).toFixed(2)} kb/s`,
  );
  check('the link makes secret key', healthy.finalKeyBits > 0);

  view.heading(3, 'Key managers, applications, proxies');
  const http = await startHttpApp();
  cleanUps.push(() => http.close());
  const tcp = await startTcpApp();
  cleanUps.push(() => tcp.close());
  view.line(`key managers: ${simulator.kmes.map((kme) => kme.etsi004).join(' and ')} (ETSI GS QKD 004, mutual TLS)`);
  view.line(
    `each holds at most ${STORE_KEYS} keys a direction, given out in chunks of ${KEY_CHUNK_BYTES} bytes; each proxy keeps ${KEYS_AHEAD} keys agreed ahead`,
  );
  view.line(`applications that know nothing of this: HTTP on ${http.port}, TCP on ${tcp.port}`);
  const site = await startSites(workspace, pki, simulator, { http, tcp }, view, cleanUps);
  const keysReady = (service: ServiceName, from = 0) =>
    site.client.event('keys-ready', ({ address }) => address === `127.0.0.1:${site.tunnelPorts[`tunnel-${service}`]}`, {
      from,
      timeoutMs: 30_000,
    });
  for (const service of SERVICES) await keysReady(service.name);
  const ask = (service: ServiceName) =>
    observe(service, site.client, site.server, async () => {
      const message = `${service} ${marker}`;
      const port = site.ports[service];
      const answer = service === 'records' ? await askHttp(port, message) : await askTcp(port, message);
      return answer === message;
    });
  const connect = async (service: ServiceName): Promise<ObservedConnection> => {
    signal.throwIfAborted();
    const connection = await ask(service);
    connections.push(connection);
    return connection;
  };

  view.heading(4, 'Connections');
  const first = [await connect('records'), await connect('telemetry'), await connect('control')];
  showConnections(view, first);
  check(
    'every connection is qkd-and-pqc',
    first.every(({ mode, keyId }) => mode === 'qkd-and-pqc' && keyId !== undefined),
  );
  check('no key was used twice', new Set(first.map(({ keyId }) => keyId)).size === first.length);
  check(
    'both ends computed the same fingerprint for each',
    first.every(({ fingerprintsAgree }) => fingerprintsAgree === true),
  );
  check(
    'the applications were served',
    first.every(({ applicationServed }) => applicationServed),
  );

  view.heading(5, 'An eavesdropper');
  simulator.setEavesdropper(options.interceptFraction);
  view.line(`Eve intercepts and resends ${percent(options.interceptFraction)} of the pulses`);
  const attacked = await link.block(({ deliveredBits }) => deliveredBits === 0, 'a block without key', signal);
  view.line(
    `QBER ${percent(attacked.qber)}: the block ended with ${attacked.finalKeyBits} secret bits` +
      `${attacked.aborted === undefined ? '' : ` (${attacked.aborted})`}`,
  );
  check('the QBER rose', attacked.qber > healthy.qber);
  check('key generation stopped: the finite-key length is ≤ 0', attacked.finalKeyBits === 0);
  let drained = 0;
  let fallback = await connect('records');
  for (; fallback.mode === 'qkd-and-pqc' && drained < MAX_DRAINING_CONNECTIONS; drained++) {
    view.progress(0, `connection ${drained + 1} still had a key`);
    fallback = await connect('records');
  }
  view.line(`${drained} more connections found a key in the stores and pools; then:`);
  showConnections(view, [fallback]);
  check('the next connection fell back to ML-KEM', fallback.mode === 'pqc');
  check(
    `both ends know why: ${fallback.reason}`,
    fallback.reason !== undefined && fallback.reason === fallback.reasonAtServer,
  );
  check('the application did not notice', fallback.applicationServed);

  view.heading(6, 'A service that requires QKD');
  let refused = await connect('control');
  for (let more = 0; refused.mode !== 'refused' && more < MAX_DRAINING_CONNECTIONS; more++) {
    refused = await connect('control');
  }
  showConnections(view, [refused]);
  if (refused.error !== undefined) view.line(refused.error);
  check(
    `'control' (require: qkd) waited ${KEY_WAIT} for a key, then refused, and said why`,
    refused.mode === 'refused' && refused.reason !== undefined && !refused.applicationServed,
  );

  view.heading(7, 'The tap');
  const control = await Tap.open(http.port);
  cleanUps.push(() => control.close());
  await askHttp(control.port, `control ${marker}`);
  const tap = {
    markerInTunnel: site.taps.some((one) => one.contains(marker)),
    markerInControl: control.contains(marker),
    recordedBytes: site.taps.reduce((sum, one) => sum + one.recordedBytes, 0),
  };
  view.line(`${count(tap.recordedBytes)} bytes recorded between the proxies`);
  check('the marker that the applications sent is not in them', !tap.markerInTunnel && tap.recordedBytes > 0);
  check('it is in a recording of the same request without the tunnel', tap.markerInControl);

  view.heading(8, 'The link heals');
  const healedFrom = site.client.events.length;
  simulator.setEavesdropper(0);
  const healed = await link.block((report) => report.deliveredBits > 0, 'key again', signal);
  view.line(`QBER ${percent(healed.qber)}, ${count(healed.finalKeyBits)} secret bits`);
  await keysReady('records', healedFrom);
  const last = await connect('records');
  showConnections(view, [last]);
  check('the last connection is qkd-and-pqc again', last.mode === 'qkd-and-pqc' && last.fingerprintsAgree === true);

  const ok = checks.every(({ observed }) => observed);
  const served = connections.filter(({ applicationServed }) => applicationServed).length;
  view.heading(9, 'Summary');
  view.line(
    `${connections.length} connections, ${served} served: ${countBy(connections.map(({ mode }) => mode))}; ` +
      `${checks.filter(({ observed }) => observed).length} of ${checks.length} statements observed`,
  );
  // Kept for hours perhaps: a link that runs as fast as it can would take a core all the time.
  simulator.setSurplus('pause');
  await options.keep?.({
    folder: workspace.path,
    files: { ...site.files, cert: pki.proxyA.cert, key: pki.proxyA.key, ca: pki.ca },
    ports: { ...site.ports, ...site.tunnelPorts, http: http.port, tcp: tcp.port },
    kmes: simulator.kmes.map((kme) => kme.etsi004),
  });
  return {
    link: {
      preset: 'metro',
      lengthKm: options.lengthKm,
      qber: healthy.qber,
      skrBitsPerSecond: healthy.skrBitsPerSecond,
      siftedBitsPerSecond: healthy.siftedBitsPerSecond,
      simulatedSeconds: healthy.linkSeconds,
      wallSeconds,
      secretBits: healthy.finalKeyBits,
      underAttack: {
        qber: attacked.qber,
        secretBits: attacked.finalKeyBits,
        ...(attacked.aborted === undefined ? {} : { aborted: attacked.aborted }),
      },
    },
    connections,
    tap,
    checks,
    ok,
  };
}

function showConnections(view: DemoView, connections: readonly ObservedConnection[]): void {
  view.table(
    ['service', 'mode', 'group', 'cipher suite', 'key', 'fingerprint (both ends)', 'reason'],
    connections.map((one) => [
      one.service,
      one.mode,
      one.group ?? '–',
      one.cipher ?? '–',
      one.keyId === undefined ? '–' : shortKeyId(one.keyId),
      one.fingerprint === undefined ? '–' : `${one.fingerprint}${one.fingerprintsAgree ? ' =' : ' ≠'}`,
      one.reason ?? '',
    ]),
  );
}

/** The random part of a reference at a length that fits a table; logs and `--json` have it whole. */
function shortKeyId(keyId: string): string {
  const [, , ksid = keyId, ...place] = keyId.split(':');
  return [ksid.slice(0, 8), ...place].join(':');
}
