/** The keys of every service with `auth: psk`: one pool for each client service, one store for each key manager and pair of SAEs. */
import { type Clock, type KeySource, systemClock } from '../../kdi-client/index.ts';
import type { EventLog } from '../log.ts';
import type { ClientKeys, ServerKeys } from '../tunnel/settings.ts';
import { createKmeClient, type KmesSettings } from './kme.ts';
import { PlainClientKeys } from './plain-client-keys.ts';
import { PlainServerKeys } from './plain-server-keys.ts';

/** What both roles need of a service. */
export interface PlainService {
  readonly service: string;
  readonly ownSae: string;
  readonly peerSae: string;
  readonly kmes: KmesSettings;
  readonly keyTtlMs: number;
}

export interface PlainClientService extends PlainService {
  /** Where the keys are used, for the log. */
  readonly address: string;
  readonly keysAhead: number;
  readonly simulatedAllowed: boolean;
}

export interface PlainServerService extends PlainService {
  readonly lookUpTimeoutMs: number;
  readonly simulatedAllowed: (remoteAddress: string) => boolean;
}

/** Most keys held for one peer. */
const QUOTA = 4_096;

export class PlainKeyService {
  readonly #log: EventLog;
  readonly #clock: Clock;
  readonly #clients: PlainClientKeys[] = [];
  readonly #servers = new Map<string, PlainServerKeys>();

  constructor(log: EventLog, clock: Clock = systemClock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** @throws KdiError for an unusable key manager. */
  clientKeys(service: PlainClientService): ClientKeys {
    const keys = new PlainClientKeys({
      ...service,
      source: this.#source(service),
      clock: this.#clock,
      log: this.#log,
      quota: QUOTA,
    });
    this.#clients.push(keys);
    return keys;
  }

  /** @throws KdiError for an unusable key manager. */
  serverKeys(service: PlainServerService): ServerKeys {
    const { ownSae, peerSae, kmes } = service;
    const id = JSON.stringify([ownSae, peerSae, kmes.kmes.map(({ url }) => url)]);
    let keys = this.#servers.get(id);
    if (keys === undefined) {
      keys = new PlainServerKeys({
        ...service,
        source: this.#source(service),
        clock: this.#clock,
        log: this.#log,
        quota: QUOTA,
      });
      this.#servers.set(id, keys);
    }
    const shared = keys;
    return {
      lookUp: (event, remoteAddress) => shared.lookUp(event, service, remoteAddress),
      lookUpForRekey: () => undefined,
    };
  }

  #source({ kmes, ownSae }: PlainService): KeySource {
    return createKmeClient(kmes, { ownSae, clock: this.#clock, log: this.#log });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients, ...this.#servers.values()].map((keys) => keys.close()));
  }
}
