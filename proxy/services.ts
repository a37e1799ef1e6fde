/**
 * Runs services: makes what each needs, shares what can be shared (one key
 * channel for each own SAE, peer SAEs and address; one store of announced keys
 * for each own SAE and key manager), and stops all of it in order.
 */
import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Identity, TrustAnchors } from '../certs/index.ts';
import {
  CipherSuite,
  type EngineIdentity,
  NamedGroup,
  type ServiceRequirement,
  signatureSchemes,
  signingKeyOf,
} from '../tls-ext/index.ts';
import { addressText, BulkBufferPool, type SocketAddress } from './data-path/index.ts';
import { ChannelDialler } from './key-service/channel-dialler.ts';
import { isLoopback } from './key-service/loopback.ts';
import type { EventLog } from './log.ts';
import { needsQkd, type PolicySettings } from './policy.ts';
import {
  AnswererKeyService,
  DrawerKeyService,
  type KmeSettings,
  lookUpWithoutKme,
  noClientKeys,
} from './psk-resolver.ts';
import { startClientTunnel } from './tunnel/client-tunnel.ts';
import { startServerTunnel } from './tunnel/server-tunnel.ts';
import type { ClientKeys, Tunnel, TunnelLimits, TunnelPorts, TunnelSettings } from './tunnel/settings.ts';

/** A service, as configured: files are read, addresses parsed, defaults filled in. */
export interface ServiceDefinition {
  readonly name: string;
  readonly mode: 'client' | 'server';
  readonly accept: SocketAddress;
  readonly connect: SocketAddress;
  readonly identity: Identity;
  readonly trust: TrustAnchors;
  readonly sae: string;
  /** Who is admitted; at least one. */
  readonly peerSae: readonly string[];
  /** Client only: the server's certificate must name this host as well. */
  readonly verifyHost?: string;
  /** Absent: no QKD, which `require` must allow. */
  readonly kme?: KmeSettings;
  readonly policy: PolicySettings;
  readonly unsafeAllowSimulated: boolean;
  /** Keys kept agreed ahead of need with the peer. */
  readonly keysAhead: number;
  readonly limits: TunnelLimits;
}

export interface RunningProxy {
  readonly tunnels: readonly Tunnel[];
  /** Stops accepting, lets connections finish until the deadline, then closes the rest; resolves with how many it cut. */
  drain(deadlineMs: number): Promise<number>;
  /** Cuts everything now. */
  close(): Promise<void>;
}

const KEY_CHANNEL_GROUPS: readonly number[] = [NamedGroup.x25519MlKem768];
const CIPHER_SUITES: readonly number[] = [CipherSuite.aes256GcmSha384, CipherSuite.aes128GcmSha256];
const SIGNATURE_SCHEMES: readonly number[] = signatureSchemes.map(({ codePoint }) => codePoint);

/**
 * Starts every service, or none: if one can't listen, those before it are closed.
 *
 * @throws ProxyError `ERR_PROXY_ADDRESS_IN_USE` or `ERR_PROXY_LISTEN`; KdiError for an unusable key manager.
 */
export async function startServices(
  definitions: readonly ServiceDefinition[],
  options: { readonly log: EventLog },
): Promise<RunningProxy> {
  const proxy = new ServiceSet(options.log);
  try {
    for (const definition of definitions) await proxy.start(definition, definitions);
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
  readonly #drawers = new Map<string, { readonly keys: DrawerKeyService; readonly dialler: ChannelDialler }>();
  readonly #answerers = new Map<string, AnswererKeyService>();

  constructor(log: EventLog) {
    this.#log = log;
  }

  async start(definition: ServiceDefinition, all: readonly ServiceDefinition[]): Promise<void> {
    const settings = tunnelSettings(definition);
    const ports: TunnelPorts = {
      log: this.#log,
      identity: engineIdentity(definition.identity),
      bufferPool: this.#bufferPool,
      random: randomBytes,
    };
    const tunnel =
      definition.mode === 'client'
        ? await startClientTunnel({ ...ports, settings, keys: this.#clientKeys(definition, ports, all) })
        : await this.#startServer(definition, settings, ports, all);
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
  }

  #clientKeys(definition: ServiceDefinition, ports: TunnelPorts, all: readonly ServiceDefinition[]): ClientKeys {
    const { kme, sae, peerSae, connect } = definition;
    if (kme === undefined) return noClientKeys;
    const channel = JSON.stringify([sae, [...peerSae].sort(), addressText(connect), kme.url]);
    const running = this.#drawers.get(channel);
    if (running !== undefined) return running.keys;

    const sharing = all.filter((one) => one.mode === 'client' && one.sae === sae && sameAddress(one.connect, connect));
    const keys = new DrawerKeyService({
      ownSae: sae,
      kme,
      instance: this.#instance,
      services: sharing.map(requirementOf),
      log: this.#log,
      simulatedAllowed: definition.unsafeAllowSimulated || isLoopback(connect),
      keysAhead: Math.max(...sharing.map(({ keysAhead }) => keysAhead)),
    });
    const serverName = 'host' in connect && isIP(connect.host) === 0 ? { serverName: connect.host } : {};
    const dialler = new ChannelDialler({
      address: connect,
      ownSae: sae,
      peer: peerRules(definition),
      identity: ports.identity,
      groups: KEY_CHANNEL_GROUPS,
      cipherSuites: CIPHER_SUITES,
      signatureSchemes: SIGNATURE_SCHEMES,
      ...serverName,
      handshakeTimeoutMs: definition.limits.handshakeTimeoutMs,
      random: ports.random,
      log: this.#log,
      end: keys,
    });
    this.#drawers.set(channel, { keys, dialler });
    dialler.start();
    return keys;
  }

  #startServer(
    definition: ServiceDefinition,
    settings: TunnelSettings,
    ports: TunnelPorts,
    all: readonly ServiceDefinition[],
  ): Promise<Tunnel> {
    const answerer = this.#answerer(definition, all);
    const rules = {
      peerSae: definition.peerSae,
      simulatedAllowed: (remoteAddress: string) => definition.unsafeAllowSimulated || isLoopbackText(remoteAddress),
    };
    return startServerTunnel({
      ...ports,
      settings,
      keys: {
        lookUp: (event, remoteAddress) =>
          answerer === undefined ? lookUpWithoutKme(event) : answerer.lookUp(event, rules, remoteAddress),
      },
      ...(answerer === undefined ? {} : { keyChannel: answerer }),
    });
  }

  #answerer(definition: ServiceDefinition, all: readonly ServiceDefinition[]): AnswererKeyService | undefined {
    const { kme, sae } = definition;
    if (kme === undefined) return undefined;
    const id = JSON.stringify([sae, kme.url]);
    let answerer = this.#answerers.get(id);
    if (answerer === undefined) {
      answerer = new AnswererKeyService({
        ownSae: sae,
        kme,
        instance: this.#instance,
        services: all.filter((one) => one.mode === 'server' && one.sae === sae).map(requirementOf),
        log: this.#log,
      });
      this.#answerers.set(id, answerer);
    }
    return answerer;
  }
}

function tunnelSettings(definition: ServiceDefinition): TunnelSettings {
  return {
    service: definition.name,
    accept: definition.accept,
    connect: definition.connect,
    ownSae: definition.sae,
    peer: peerRules(definition),
    policy: definition.policy,
    limits: definition.limits,
    groups: groupsFor(definition.policy),
    cipherSuites: CIPHER_SUITES,
    signatureSchemes: SIGNATURE_SCHEMES,
  };
}

function peerRules(definition: ServiceDefinition) {
  const { trust, peerSae, verifyHost } = definition;
  return { trust, peerSae, ...(verifyHost === undefined ? {} : { verifyHost }) };
}

/** Classical groups are negotiated only where a connection could be admitted with one. */
function groupsFor(policy: PolicySettings): readonly number[] {
  const postQuantum = [NamedGroup.x25519MlKem768, NamedGroup.secP256r1MlKem768];
  const classical = [NamedGroup.x25519, NamedGroup.secp256r1];
  const admitted = policy.require === 'qkd' || (policy.unsafeAllowClassical && !needsQkd(policy.require));
  return admitted ? [...postQuantum, ...classical] : postQuantum;
}

function engineIdentity(identity: Identity): EngineIdentity {
  return { chain: identity.chainDer, ...signingKeyOf(identity.privateKey) };
}

function requirementOf({ name, policy }: ServiceDefinition): ServiceRequirement {
  return { service: name, require: policy.require };
}

function sameAddress(a: SocketAddress, b: SocketAddress): boolean {
  return addressText(a) === addressText(b);
}

function isLoopbackText(remoteAddress: string): boolean {
  if (remoteAddress === 'unix') return true;
  const colon = remoteAddress.lastIndexOf(':');
  return isLoopback({ host: remoteAddress.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: 0 });
}
