/** Runs services: makes what each needs, and stops all of it in order. */
import { randomBytes } from 'node:crypto';
import type { Identity, TrustAnchors } from '../certs/index.ts';
import {
  cipherSuites,
  type EngineIdentity,
  namedGroups,
  signatureSchemes,
  signingKeyFromPkcs8,
} from '../tls-ext/index.ts';
import { MAX_PEER_SAES, MAX_SERVICES } from './config/index.ts';
import { BulkBufferPool } from './data-path/index.ts';
import { downgradeMemory } from './downgrade-memory.ts';
import { ProxyError, ProxyErrorCode } from './errors.ts';
import type { KeyReport } from './key-service/key-report.ts';
import { KeyServices, type LoadedService } from './key-services.ts';
import type { EventLog } from './log.ts';
import { type Clock, openLedger, type SpentLedger, systemClock } from './psk-resolver.ts';
import { InProcessStore } from './state-store.ts';
import { startClientTunnel } from './tunnel/client-tunnel.ts';
import type { TicketRecord } from './tunnel/server-tickets.ts';
import { startServerTunnel } from './tunnel/server-tunnel.ts';
import type { Tunnel, TunnelPorts, TunnelSettings } from './tunnel/settings.ts';

export type { LoadedService };

export interface RunningProxy {
  readonly tunnels: readonly Tunnel[];
  /** Stops accepting, lets connections finish until the deadline, then closes the rest; resolves with how many it cut. */
  drain(deadlineMs: number): Promise<number>;
  /** Cuts everything now. */
  close(): Promise<void>;
  /** How key delivery is doing now. */
  keyReport(): KeyReport;
}

export interface StartOptions {
  readonly log: EventLog;
  /** Of the keys that were used; closed in the end. Default: one for the life of the process. */
  readonly ledger?: SpentLedger;
  /** Time as key delivery sees it; default: the system's. */
  readonly clock?: Clock;
}

const SIGNATURE_SCHEMES: readonly number[] = signatureSchemes.map(({ codePoint }) => codePoint);

/**
 * Starts every service, or none: if one can't listen, those before it are closed.
 *
 * @throws ProxyError `ERR_PROXY_ADDRESS_IN_USE` or `ERR_PROXY_LISTEN`; KdiError for an unusable key manager.
 */
export async function startServices(services: readonly LoadedService[], options: StartOptions): Promise<RunningProxy> {
  const { log, clock = systemClock } = options;
  const ledger = options.ledger ?? (await openLedger(undefined));
  const proxy = new ServiceSet(log, new KeyServices(services, { log, clock, ledger }));
  try {
    for (const service of services) await proxy.start(service);
  } catch (error) {
    await proxy.close();
    throw error;
  }
  return proxy;
}

/** Tickets kept for all services together; of more, the oldest go. */
const MAX_TICKETS = 65_536;

class ServiceSet implements RunningProxy {
  readonly tunnels: Tunnel[] = [];
  readonly #log: EventLog;
  readonly #bufferPool = new BulkBufferPool();
  readonly #keys: KeyServices;
  readonly #tickets = new InProcessStore<TicketRecord>({
    maxEntries: MAX_TICKETS,
    onRemoved: ({ psk }) => psk.secret.wipe(),
  });
  readonly #seenWithQkd = new InProcessStore<true>({ maxEntries: MAX_SERVICES * MAX_PEER_SAES });

  constructor(log: EventLog, keys: KeyServices) {
    this.#log = log;
    this.#keys = keys;
  }

  async start(service: LoadedService): Promise<void> {
    const { mode, auth, name, rememberMs } = service.config;
    const settings = tunnelSettings(service);
    const ports: TunnelPorts = {
      log: this.#log,
      bufferPool: this.#bufferPool,
      random: randomBytes,
      ...(auth === 'psk' ? {} : { identity: engineIdentity(expectIdentity(service)) }),
      ...(rememberMs === undefined ? {} : { memory: downgradeMemory(this.#seenWithQkd, name, rememberMs) }),
    };
    const keys = this.#keys;
    const tunnel =
      mode === 'client'
        ? await startClientTunnel({ ...ports, settings, keys: keys.clientKeys(service, settings, ports) })
        : await startServerTunnel({ ...ports, settings, ticketStore: this.#tickets, ...keys.serverKeys(service) });
    this.tunnels.push(tunnel);
  }

  keyReport(): KeyReport {
    return this.#keys.report();
  }

  async drain(deadlineMs: number): Promise<number> {
    const cut = await Promise.all(this.tunnels.map((tunnel) => tunnel.drain(deadlineMs)));
    await this.#closeStores();
    return cut.reduce((sum, count) => sum + count, 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.tunnels.map((tunnel) => tunnel.close()));
    await this.#closeStores();
  }

  async #closeStores(): Promise<void> {
    await this.#keys.close();
    this.#seenWithQkd.close();
    this.#tickets.close();
  }
}

/** Nobody is trusted by certificate. */
const NO_ANCHORS: TrustAnchors = { bySubject: new Map(), certificates: [], names: [] };

function expectIdentity({ identity }: LoadedService): Identity {
  if (identity === undefined) throw new ProxyError(ProxyErrorCode.internal, 'the certificate was not loaded');
  return identity;
}

function tunnelSettings({ config, trust = NO_ANCHORS }: LoadedService): TunnelSettings {
  const { verifyHost, peerSae, requireAuth } = config;
  return {
    service: config.name,
    accept: config.accept,
    connect: config.connect,
    ownSae: config.sae,
    auth: config.auth,
    peer: { trust, peerSae, requireAuth, ...(verifyHost === undefined ? {} : { verifyHost }) },
    policy: config.policy,
    limits: config.limits,
    rekeyAfter: config.rekeyAfter,
    tickets: config.tickets,
    groups: codePoints(namedGroups, config.groups),
    cipherSuites: codePoints(cipherSuites, config.cipherSuites),
    signatureSchemes: SIGNATURE_SCHEMES,
  };
}

function codePoints(known: readonly { name: string; codePoint: number }[], names: readonly string[]): number[] {
  return names.map((name) => {
    const entry = known.find((one) => one.name === name);
    if (entry === undefined) throw new RangeError(`${name} is not known`);
    return entry.codePoint;
  });
}

function engineIdentity(identity: Identity): EngineIdentity {
  return { chain: identity.chainDer, ...signingKeyFromPkcs8(identity.privateKeyPkcs8) };
}
