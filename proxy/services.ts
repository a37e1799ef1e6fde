/**
 * Runs services: makes what each needs, shares what can be shared (one key
 * channel for each own SAE, peer SAEs and address; one store of announced keys
 * for each own SAE and key manager), and stops all of it in order.
 */
import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Identity, TrustAnchors } from '../certs/index.ts';
import {
  cipherSuites,
  type EngineIdentity,
  NamedGroup,
  namedGroups,
  type ServiceRequirement,
  signatureSchemes,
  signingKeyFromPkcs8,
} from '../tls-ext/index.ts';
import { isLocalAddress, MAX_PEER_SAES, MAX_SERVICES, type ServiceConfig } from './config/index.ts';
import { addressText, BulkBufferPool } from './data-path/index.ts';
import { downgradeMemory } from './downgrade-memory.ts';
import { ProxyError, ProxyErrorCode } from './errors.ts';
import { type AnswererKeys, lookUpWithoutKme } from './key-service/answerer-keys.ts';
import { ChannelDialler } from './key-service/channel-dialler.ts';
import { type DrawerKeys, noClientKeys } from './key-service/drawer-keys.ts';
import { PlainKeyService } from './key-service/plain-key-service.ts';
import type { EventLog } from './log.ts';
import { createAnswererKeys, createDrawerKeys, type KmeSettings, type KmesSettings } from './psk-resolver.ts';
import { InProcessStore } from './state-store.ts';
import { startClientTunnel } from './tunnel/client-tunnel.ts';
import { startServerTunnel } from './tunnel/server-tunnel.ts';
import type { ClientKeys, Tunnel, TunnelPorts, TunnelSettings } from './tunnel/settings.ts';

/** A service with the files that its configuration names. */
export interface LoadedService {
  readonly config: ServiceConfig;
  /** Absent with `auth: psk`. */
  readonly identity?: Identity;
  readonly trust?: TrustAnchors;
  /** The key managers of `config.kmes`. */
  readonly kmes: readonly KmeSettings[];
}

export interface RunningProxy {
  readonly tunnels: readonly Tunnel[];
  /** Stops accepting, lets connections finish until the deadline, then closes the rest; resolves with how many it cut. */
  drain(deadlineMs: number): Promise<number>;
  /** Cuts everything now. */
  close(): Promise<void>;
}

const KEY_CHANNEL_GROUPS: readonly number[] = [NamedGroup.x25519MlKem768];
const SIGNATURE_SCHEMES: readonly number[] = signatureSchemes.map(({ codePoint }) => codePoint);

/**
 * Starts every service, or none: if one can't listen, those before it are closed.
 *
 * @throws ProxyError `ERR_PROXY_ADDRESS_IN_USE` or `ERR_PROXY_LISTEN`; KdiError for an unusable key manager.
 */
export async function startServices(
  services: readonly LoadedService[],
  options: { readonly log: EventLog },
): Promise<RunningProxy> {
  const proxy = new ServiceSet(options.log);
  try {
    for (const service of services) await proxy.start(service, services);
  } catch (error) {
    await proxy.close();
    throw error;
  }
  return proxy;
}

class ServiceSet implements RunningProxy {
  readonly tunnels: Tunnel[] = [];
  readonly #log: EventLog;
  readonly #bufferPool = new BulkBufferPool();
  /** Names this process to its peers: a new one means that the keys of the old one are gone. */
  readonly #instance = Uint8Array.from(randomBytes(16));
  readonly #drawers = new Map<string, { readonly keys: DrawerKeys; readonly dialler: ChannelDialler }>();
  readonly #answerers = new Map<string, AnswererKeys>();
  readonly #plainKeys: PlainKeyService;
  readonly #seenWithQkd = new InProcessStore<true>({ maxEntries: MAX_SERVICES * MAX_PEER_SAES });

  constructor(log: EventLog) {
    this.#log = log;
    this.#plainKeys = new PlainKeyService(log);
  }

  async start(service: LoadedService, all: readonly LoadedService[]): Promise<void> {
    const { mode, auth } = service.config;
    const settings = tunnelSettings(service);
    const { name, rememberMs } = service.config;
    const ports: TunnelPorts = {
      log: this.#log,
      bufferPool: this.#bufferPool,
      random: randomBytes,
      ...(rememberMs === undefined ? {} : { memory: downgradeMemory(this.#seenWithQkd, name, rememberMs) }),
    };
    if (auth === 'psk') {
      this.tunnels.push(await this.#startPlain(service, { ...ports, settings }));
      return;
    }
    const identified = { ...ports, identity: engineIdentity(expectIdentity(service)) };
    const tunnel =
      mode === 'client'
        ? await startClientTunnel({
            ...identified,
            settings,
            keys: this.#clientKeys(service, settings, identified, all),
          })
        : await this.#startServer(service, settings, identified);
    this.tunnels.push(tunnel);
  }

  async drain(deadlineMs: number): Promise<number> {
    const cut = await Promise.all(this.tunnels.map((tunnel) => tunnel.drain(deadlineMs)));
    await this.#closeKeyServices();
    return cut.reduce((sum, count) => sum + count, 0);
  }

  async close(): Promise<void> {
    await Promise.all(this.tunnels.map((tunnel) => tunnel.close()));
    await this.#closeKeyServices();
  }

  async #closeKeyServices(): Promise<void> {
    await Promise.all(
      [...this.#drawers.values()].map(async ({ keys, dialler }) => {
        await keys.close();
        await dialler.stop();
      }),
    );
    await Promise.all([...this.#answerers.values()].map((answerer) => answerer.close()));
    await this.#plainKeys.close();
    this.#seenWithQkd.close();
  }

  /** `auth: psk`: keys are drawn or looked up for each connection, and there is no key channel. */
  #startPlain(loaded: LoadedService, options: TunnelPorts & { settings: TunnelSettings }): Promise<Tunnel> {
    const { config } = loaded;
    const { mode, name, sae, peerSae, connect, keysAhead, keyTtlMs, policy, unsafeAllowSimulated } = config;
    const kmes = kmesOf(loaded);
    if (kmes === undefined) throw new ProxyError(ProxyErrorCode.internal, 'auth: psk without a key manager');
    const service = { service: name, ownSae: sae, peerSae: peerSae[0] as string, kmes, keyTtlMs };
    if (mode === 'client') {
      const simulatedAllowed = unsafeAllowSimulated || isLocalAddress(connect);
      const address = addressText(connect);
      const keys = this.#plainKeys.clientKeys({ ...service, address, keysAhead, simulatedAllowed });
      return startClientTunnel({ ...options, keys });
    }
    const keys = this.#plainKeys.serverKeys({
      ...service,
      lookUpTimeoutMs: policy.keyWaitMs,
      simulatedAllowed: (remoteAddress) => unsafeAllowSimulated || isLoopbackText(remoteAddress),
    });
    return startServerTunnel({ ...options, keys });
  }

  /** Services with the same SAEs, address and key manager share one channel and its keys. */
  #clientKeys(
    service: LoadedService,
    settings: TunnelSettings,
    ports: IdentifiedPorts,
    all: readonly LoadedService[],
  ): ClientKeys {
    const { config } = service;
    const { sae, connect } = config;
    const kmes = kmesOf(service);
    if (kmes === undefined) return noClientKeys;
    const channel = channelOf(config);
    const running = this.#drawers.get(channel);
    if (running !== undefined) return running.keys;

    const sharing = all.filter((one) => one.config.mode === 'client' && channelOf(one.config) === channel);
    const keys = createDrawerKeys({
      ownSae: sae,
      kmes,
      instance: this.#instance,
      address: addressText(connect),
      services: sharing.map(requirementOf),
      log: this.#log,
      simulatedAllowed: config.unsafeAllowSimulated || isLocalAddress(connect),
      keysAhead: Math.max(...sharing.map((one) => one.config.keysAhead)),
      keyTtlMs: config.keyTtlMs,
    });
    const serverName = 'host' in connect && isIP(connect.host) === 0 ? { serverName: connect.host } : {};
    const dialler = new ChannelDialler({
      ...settings,
      ...ports,
      ...serverName,
      address: connect,
      // Whatever the services admit: the channel that their keys rest on is never classical.
      groups: KEY_CHANNEL_GROUPS,
      handshakeTimeoutMs: config.limits.handshakeTimeoutMs,
      end: keys,
    });
    this.#drawers.set(channel, { keys, dialler });
    dialler.start();
    return keys;
  }

  #startServer(service: LoadedService, settings: TunnelSettings, ports: TunnelPorts): Promise<Tunnel> {
    const { unsafeAllowSimulated, peerSae } = service.config;
    const answerer = this.#answerer(service);
    const rules = {
      peerSae,
      simulatedAllowed: (remoteAddress: string) => unsafeAllowSimulated || isLoopbackText(remoteAddress),
    };
    return startServerTunnel({
      ...ports,
      settings,
      keys: {
        lookUp: (event, remoteAddress) =>
          answerer === undefined ? lookUpWithoutKme(event) : answerer.lookUp(event, rules, remoteAddress),
        lookUpForRekey: (reference, peer, remoteAddress) =>
          answerer?.lookUpForRekey(reference, peer, rules, remoteAddress),
      },
      ...(answerer === undefined ? {} : { keyChannel: answerer }),
    });
  }

  #answerer(service: LoadedService): AnswererKeys | undefined {
    const { config } = service;
    const { sae } = config;
    const kmes = kmesOf(service);
    if (kmes === undefined) return undefined;
    const id = JSON.stringify([sae, config.kmes]);
    let answerer = this.#answerers.get(id);
    if (answerer === undefined) {
      answerer = createAnswererKeys({
        ownSae: sae,
        kmes,
        instance: this.#instance,
        log: this.#log,
        keyTtlMs: config.keyTtlMs,
      });
      this.#answerers.set(id, answerer);
    }
    return answerer;
  }
}

type IdentifiedPorts = TunnelPorts & { readonly identity: EngineIdentity };

/** Nobody is trusted by certificate. */
const NO_ANCHORS: TrustAnchors = { bySubject: new Map(), certificates: [] };

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

/** `undefined`: the service has no key manager. */
function kmesOf({ config, kmes }: LoadedService): KmesSettings | undefined {
  if (kmes.length === 0) return undefined;
  return { kmes, choose: config.kmeChoose, failBackAfterMs: config.kmeFailBackMs };
}

function engineIdentity(identity: Identity): EngineIdentity {
  return { chain: identity.chainDer, ...signingKeyFromPkcs8(identity.privateKeyPkcs8) };
}

function requirementOf({ config }: LoadedService): ServiceRequirement {
  return { service: config.name, require: config.policy.require };
}

function channelOf({ sae, peerSae, connect, kmes }: ServiceConfig): string {
  return JSON.stringify([sae, [...peerSae].sort(), addressText(connect), kmes]);
}

function isLoopbackText(remoteAddress: string): boolean {
  if (remoteAddress === 'unix') return true;
  const colon = remoteAddress.lastIndexOf(':');
  return isLocalAddress({ host: remoteAddress.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: 0 });
}
