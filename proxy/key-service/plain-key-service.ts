/** The keys of every service with `auth: psk`: one pool for each client service, one store for each key manager and pair of SAEs. */
import type { Clock, KeySource, SpentLedger } from '../../kdi-client/index.ts';
import type { EventLog } from '../log.ts';
import type { ClientKeys, ServerKeys } from '../tunnel/settings.ts';
import { createKmeClient, type KmesSettings } from './kme.ts';
import { PlainClientKeys } from './plain-client-keys.ts';
import { PlainServerKeys } from './plain-server-keys.ts';
import type { ProvenanceRules } from './provenance.ts';

/** What both roles need of a service. */
export interface PlainService {
  readonly service: string;
  readonly ownSae: string;
  readonly peerSae: string;
  readonly kmes: KmesSettings;
  readonly keyTtlMs: number;
  /** Equal for services that share keys: same SAE and key managers. */
  readonly storeId: string;
}

export interface PlainClientService extends PlainService {
  /** Where the keys are used, for the log. */
  readonly address: string;
  readonly keysAhead: number;
  readonly rules: ProvenanceRules;
}

export interface PlainServerService extends PlainService {
  readonly lookUpTimeoutMs: number;
  readonly provenance: (remoteAddress: string) => ProvenanceRules;
}

/** Most keys held for one peer. */
const QUOTA = 4_096;

export interface PlainKeyServiceOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly ledger: SpentLedger;
}

export class PlainKeyService {
  readonly #options: PlainKeyServiceOptions;
  readonly #clients: PlainClientKeys[] = [];
  readonly #servers = new Map<string, PlainServerKeys>();

  constructor(options: PlainKeyServiceOptions) {
    this.#options = options;
  }

  /** @throws KdiError for an unusable key manager. */
  clientKeys(service: PlainClientService): ClientKeys {
    const keys = new PlainClientKeys({
      ...service,
      source: this.#source(service),
      ...this.#options,
      quota: QUOTA,
    });
    this.#clients.push(keys);
    return keys;
  }

  /** @throws KdiError for an unusable key manager. */
  serverKeys(service: PlainServerService): ServerKeys {
    const { peerSae, storeId } = service;
    const id = `${storeId} ${peerSae}`;
    let keys = this.#servers.get(id);
    if (keys === undefined) {
      keys = new PlainServerKeys({
        ...service,
        source: this.#source(service),
        ...this.#options,
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
    return createKmeClient(kmes, { ...this.#options, ownSae });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#clients, ...this.#servers.values()].map((keys) => keys.close()));
  }
}
