/**
 * The keys of all services of a process. What can be shared is: a key channel
 * among client services with the same SAEs, credentials and address; keys among
 * the channels that reached one process of a peer; what is announced to one of
 * our SAEs among its server services. Whatever two services say differently of
 * any of these gives each its own.
 */
import { isIP } from 'node:net';
import type { Identity, TrustAnchors } from '../certs/index.ts';
import type { DrawerGreeting, ServiceRequirement } from '../tls-ext/index.ts';
import { isLocalAddress, type ServiceConfig } from './config/index.ts';
import { addressText } from './data-path/index.ts';
import { ProxyError, ProxyErrorCode } from './errors.ts';
import { type AnswererKeys, lookUpWithoutKme } from './key-service/answerer-keys.ts';
import { ChannelClientKeys, noClientKeys } from './key-service/channel-client-keys.ts';
import { ChannelDialler } from './key-service/channel-dialler.ts';
import { DrawerChannel } from './key-service/drawer-channel.ts';
import type { DrawerSupply } from './key-service/drawer-supply.ts';
import { type KeyReport, kmeHealth } from './key-service/key-report.ts';
import type { DrawingService } from './key-service/peer-keys.ts';
import { PlainKeyService } from './key-service/plain-key-service.ts';
import type { ProvenanceRules } from './key-service/provenance.ts';
import type { EventLog } from './log.ts';
import {
  type Clock,
  createAnswererKeys,
  createDrawerSupply,
  type KmeSettings,
  type KmesSettings,
  type SpentLedger,
} from './psk-resolver.ts';
import {
  type ClientKeys,
  KEY_CHANNEL_GROUP,
  type KeyChannelAcceptor,
  type ServerKeys,
  type TunnelPorts,
  type TunnelSettings,
} from './tunnel/settings.ts';

/** A service with the files that its configuration names. */
export interface LoadedService {
  readonly config: ServiceConfig;
  /** Absent with `auth: psk`. */
  readonly identity?: Identity;
  readonly trust?: TrustAnchors;
  /** The key managers of `config.kmes`. */
  readonly kmes: readonly KmeSettings[];
}

export interface KeyServicesOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly ledger: SpentLedger;
}

interface Supply {
  readonly sae: string;
  readonly supply: DrawerSupply;
  createGreeting(services: readonly ServiceRequirement[]): DrawerGreeting;
}

export class KeyServices {
  readonly #services: readonly LoadedService[];
  readonly #options: KeyServicesOptions;
  readonly #supplies = new Map<string, Supply>();
  readonly #channels = new Map<string, { readonly channel: DrawerChannel; readonly dialler: ChannelDialler }>();
  readonly #answerers = new Map<string, AnswererKeys>();
  readonly #plain: PlainKeyService;

  constructor(services: readonly LoadedService[], options: KeyServicesOptions) {
    this.#services = services;
    this.#options = options;
    this.#plain = new PlainKeyService(options);
  }

  /** @throws KdiError for an unusable key manager. */
  clientKeys(service: LoadedService, settings: TunnelSettings, ports: TunnelPorts): ClientKeys {
    const { config } = service;
    const { name, sae, connect, auth } = config;
    const local = isLocalAddress(connect);
    const rules = provenanceRules(config, local);
    if (auth === 'psk') {
      const { keysAhead } = config;
      return this.#plain.clientKeys({ ...plainService(service), address: addressText(connect), keysAhead, rules });
    }
    if (service.kmes.length === 0) return noClientKeys;
    const channel = this.#channel(service, settings, ports);
    return new ChannelClientKeys({ service: name, ownSae: sae, channel, rules, log: this.#options.log });
  }

  /** @throws KdiError for an unusable key manager. */
  serverKeys(service: LoadedService): { readonly keys: ServerKeys; readonly keyChannel?: KeyChannelAcceptor } {
    const { config } = service;
    const { name, peerSae, auth, policy } = config;
    const provenance = (remoteAddress: string) => provenanceRules(config, isLoopbackText(remoteAddress));
    if (auth === 'psk') {
      const { keyWaitMs: lookUpTimeoutMs } = policy;
      return { keys: this.#plain.serverKeys({ ...plainService(service), lookUpTimeoutMs, provenance }) };
    }
    if (service.kmes.length === 0) return { keys: { lookUp: lookUpWithoutKme, lookUpForRekey: () => undefined } };
    const answerer = this.#answerer(service);
    const rules = { service: name, peerSae, provenance };
    return {
      keyChannel: answerer,
      keys: {
        lookUp: (event, remoteAddress) => answerer.lookUp(event, rules, remoteAddress),
        lookUpForRekey: (reference, peer, remoteAddress) =>
          answerer.lookUpForRekey(reference, peer, rules, remoteAddress),
      },
    };
  }

  report(): KeyReport {
    return {
      drawers: [...this.#supplies.values()].flatMap(({ sae, supply }) =>
        supply.status().map((keys) => ({ sae, ...keys, kmes: kmeHealth(supply.source) })),
      ),
      answerers: [...this.#answerers.values()].map((answerer) => ({
        ...answerer.status(),
        kmes: kmeHealth(answerer.source),
      })),
    };
  }

  async close(): Promise<void> {
    for (const { channel } of this.#channels.values()) channel.stop();
    await Promise.all([...this.#supplies.values()].map(({ supply }) => supply.close()));
    await Promise.all([...this.#channels.values()].map(({ dialler }) => dialler.stop()));
    await Promise.all([...this.#answerers.values()].map((answerer) => answerer.close()));
    await this.#plain.close();
    await this.#options.ledger.close();
  }

  #channel(service: LoadedService, settings: TunnelSettings, ports: TunnelPorts): DrawerChannel {
    const { config } = service;
    const id = channelId(config);
    const running = this.#channels.get(id);
    if (running !== undefined) return running.channel;
    if (ports.identity === undefined) throw new ProxyError(ProxyErrorCode.internal, 'the certificate was not loaded');
    const sharing = this.#services
      .map((one) => one.config)
      .filter((one) => one.mode === 'client' && one.auth !== 'psk' && channelId(one) === id);
    const { supply, createGreeting } = this.#supply(service);
    const { connect, limits } = config;
    const channel = new DrawerChannel({
      ownSae: config.sae,
      address: addressText(connect),
      services: sharing.map(drawingService),
      log: this.#options.log,
      createGreeting: () => createGreeting(sharing.map(requirementOf)),
      keysOf: (one, peerSae, instance) => supply.keysOf(one, peerSae, instance),
    });
    const dialler = new ChannelDialler({
      ...settings,
      ...ports,
      identity: ports.identity,
      ...('host' in connect && isIP(connect.host) === 0 ? { serverName: connect.host } : {}),
      address: connect,
      groups: [KEY_CHANNEL_GROUP],
      handshakeTimeoutMs: limits.handshakeTimeoutMs,
      end: channel,
      keys: new ChannelClientKeys({
        ...{ service: config.name, ownSae: config.sae, channel, log: this.#options.log },
        rules: provenanceRules(config, isLocalAddress(connect)),
      }),
    });
    this.#channels.set(id, { channel, dialler });
    dialler.start();
    return channel;
  }

  #supply(service: LoadedService): Supply {
    const id = storeId(service.config);
    let supply = this.#supplies.get(id);
    if (supply === undefined) {
      supply = { sae: service.config.sae, ...createDrawerSupply(this.#keyService(service)) };
      this.#supplies.set(id, supply);
    }
    return supply;
  }

  #answerer(service: LoadedService): AnswererKeys {
    const id = storeId(service.config);
    let answerer = this.#answerers.get(id);
    if (answerer === undefined) {
      answerer = createAnswererKeys(this.#keyService(service));
      this.#answerers.set(id, answerer);
    }
    return answerer;
  }

  #keyService(service: LoadedService) {
    const { sae: ownSae, keyTtlMs } = service.config;
    return { ...this.#options, ownSae, keyTtlMs, kmes: kmesOf(service) };
  }
}

/** Equal exactly where two services can have their keys from one pool, or one store. */
function storeId({ sae, kmes, kmeChoose, kmeFailBackMs, keyTtlMs }: ServiceConfig): string {
  return JSON.stringify([sae, kmes, kmeChoose, kmeFailBackMs, keyTtlMs]);
}

/** Equal exactly where two client services can have one key channel: all that its connection is made and judged by. */
function channelId(config: ServiceConfig): string {
  const { peerSae, connect, credentials, verifyHost, requireAuth, cipherSuites, limits } = config;
  const { handshakeTimeoutMs } = limits;
  const peers = [...peerSae].sort();
  const address = addressText(connect);
  return JSON.stringify([
    storeId(config),
    ...[peers, address, credentials, verifyHost, requireAuth, cipherSuites, handshakeTimeoutMs],
  ]);
}

function kmesOf({ config, kmes }: LoadedService): KmesSettings {
  return { kmes, choose: config.kmeChoose, failBackAfterMs: config.kmeFailBackMs };
}

function plainService(loaded: LoadedService) {
  const { name, sae, peerSae, keyTtlMs } = loaded.config;
  const peer = peerSae[0] as string;
  return { service: name, ownSae: sae, peerSae: peer, kmes: kmesOf(loaded), keyTtlMs, storeId: storeId(loaded.config) };
}

function drawingService({ name, keysAhead, keysAheadMax, budget }: ServiceConfig): DrawingService {
  const { reserve, horizonMs, ...share } = budget;
  return { name, keysAhead, keysAheadMax, reserve, horizonMs, share };
}

function requirementOf({ name, policy }: ServiceConfig): ServiceRequirement {
  return { service: name, require: policy.require };
}

function provenanceRules({ provenance, unsafeAllowSimulated }: ServiceConfig, local: boolean): ProvenanceRules {
  return { ...provenance, simulatedAllowed: unsafeAllowSimulated || local };
}

function isLoopbackText(remoteAddress: string): boolean {
  if (remoteAddress === 'unix') return true;
  const colon = remoteAddress.lastIndexOf(':');
  return isLocalAddress({ host: remoteAddress.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: 0 });
}
