/** What a tunnel is told, and the narrow ports through which it asks for the rest. */

import {
  type BufferPool,
  type EngineIdentity,
  NamedGroup,
  type NoOfferReason,
  type PlainPsk,
  type PskDecision,
  type QkdKeyReference,
  type QkdPsk,
  type ServiceRequirement,
} from '../../tls-ext/index.ts';
import type { PskRequired } from '../data-path/connection-handlers.ts';
import type { SocketAddress } from '../data-path/index.ts';
import type { TlsConnection } from '../data-path/tls-connection.ts';
import type { DowngradeMemory } from '../downgrade-memory.ts';
import type { EventLog } from '../log.ts';
import type { FallbackReason, PolicySettings, Requirement } from '../policy.ts';
import type { PeerRules } from '../verdict.ts';
import type { RekeyAfter } from './key-budget.ts';

/** ALPN protocol ID of the key channel: on the port of every server service, never forwarded. */
export const KEY_CHANNEL_ALPN = 'qstunnel-key/1';
/** The group that it is dialled with, whatever the services admit: the channel that their keys rest on is never classical. */
export const KEY_CHANNEL_GROUP = NamedGroup.x25519MlKem768;

/** Bounds on what peers can make a service hold. */
export interface TunnelLimits {
  readonly maxConnections: number;
  readonly maxPendingHandshakes: number;
  readonly handshakeTimeoutMs: number;
  /** To reach the application behind a server. */
  readonly connectTimeoutMs: number;
  /** 0 = never. */
  readonly idleTimeoutMs: number;
  readonly halfClosedTimeoutMs: number;
}

export const DEFAULT_LIMITS: TunnelLimits = {
  maxConnections: 10_000,
  maxPendingHandshakes: 512,
  handshakeTimeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  idleTimeoutMs: 12 * 60 * 60_000,
  halfClosedTimeoutMs: 10 * 60_000,
};

export interface TunnelSettings {
  /** The service's name, for the log. */
  readonly service: string;
  readonly accept: SocketAddress;
  readonly connect: SocketAddress;
  readonly ownSae: string;
  /** `psk`: plain mode, for stock peers. The key authenticates, and no certificate is sent or asked for. */
  readonly auth: 'certificate' | 'psk';
  readonly peer: Omit<PeerRules, 'peerRole' | 'ownSae'>;
  readonly policy: PolicySettings;
  readonly limits: TunnelLimits;
  readonly rekeyAfter: RekeyAfter;
  /** Tickets of one connection; 0: none. */
  readonly tickets: number;
  /** NamedGroup code points in order of preference. */
  readonly groups: readonly number[];
  /** CipherSuite code points in order of preference. */
  readonly cipherSuites: readonly number[];
  /** SignatureScheme code points accepted from peers. */
  readonly signatureSchemes: readonly number[];
}

/** What every tunnel needs. */
export interface TunnelPorts {
  readonly log: EventLog;
  /** Absent with `auth: psk`. */
  readonly identity?: EngineIdentity;
  readonly bufferPool: BufferPool;
  readonly random: (lengthBytes: number) => Uint8Array;
  /** Absent: nothing is remembered. */
  readonly memory?: DowngradeMemory;
}

/** What a key manager said of a key; what it did not say is absent. As kdi-client/ has it, which the tunnel knows nothing of. */
export interface KeyProvenance {
  /** Trusted nodes that the key crossed; 0: a direct link. */
  readonly hops?: number;
  /** Since the key was made, at the time of its use. */
  readonly ageMs?: number;
  /** No quantum hardware made it. */
  readonly simulated?: boolean;
}

/** A key taken for one handshake or rekey. Exactly one of `commit` and `release` is called, once. */
export interface KeyLease {
  readonly psk: QkdPsk | PlainPsk;
  /** What the log shows. */
  readonly keyId: string;
  readonly provenance?: KeyProvenance;
  /** The handshake or rekey is complete and used it. */
  commit(): void;
  /** It was not used: after an unfinished handshake it may be offered again; one that the peer does not have is burnt. */
  release(why: 'unfinished' | 'unavailable'): void;
}

/** A key for a rekey: its context says so, and it fits no handshake. */
export interface RekeyLease extends KeyLease {
  readonly psk: QkdPsk;
}

/** What a client tunnel has when it asks for a key. */
export interface KeyWish {
  /** A ticket that descends from a QKD key would do: when keys are scarce, it spares one (reason `budget`). */
  readonly ticketAtHand?: boolean;
}

export type KeyOffer = { readonly lease: KeyLease } | { readonly reason: NoOfferReason };

export type { ServiceRequirement };

/** Where a client tunnel gets its keys. */
export interface ClientKeys {
  /** Who authenticated itself at the address, once somebody has. */
  readonly peerSae?: string | undefined;
  /** What the other side said that it requires, once it has. The stricter of both holds. */
  readonly peerRequirement: Requirement | undefined;
  /** A key if there is one now; never waits. */
  take(wish?: KeyWish): KeyOffer;
  /** A key as soon as there is one, or the reason why there was none within the time. */
  takeWithin(timeoutMs: number, signal: AbortSignal): Promise<KeyOffer>;
  /**
   * A key for a rekey of a connection to `peerSae`, who was authenticated on
   * it; from the reserve too. `undefined` if there is none now; never waits.
   * `release('unavailable')` after `rekey-refused`.
   */
  takeForRekey(peerSae: string): RekeyLease | undefined;
  /**
   * Calls `listener` whenever `takeForRekey` may have a key that it had not,
   * until the function that it returns is called. Absent: there never is one.
   */
  readonly onKeys?: ((listener: () => void) => () => void) | undefined;
}

/** Where a server tunnel gets its keys. Answers at once, so that no handshake waits for a key manager; `auth: psk` alone may have to. */
export interface ServerKeys {
  lookUp(event: PskRequired, remoteAddress: string): ServerKeyAnswer | PendingKeyAnswer;
  /** Takes the key that `peerSae`, who was authenticated, names for a rekey; `undefined` if it may not be used, or isn't here. */
  lookUpForRekey(reference: QkdKeyReference, peerSae: string, remoteAddress: string): RekeyKey | undefined;
}

/** A key taken for a rekey: nothing else can use it. */
export interface RekeyKey {
  /** The caller owns its secret. */
  readonly psk: QkdPsk;
  readonly keyId: string;
  readonly provenance?: KeyProvenance;
}

/** Never rejects, and bounds the time that it takes. */
export interface PendingKeyAnswer {
  readonly answer: Promise<ServerKeyAnswer>;
}

export type ServerKeyAnswer =
  | {
      readonly decision: Extract<PskDecision, { action: 'use' }>;
      readonly reference: QkdKeyReference;
      readonly keyId: string;
      readonly provenance?: KeyProvenance;
      /** The first verified client Finished burns the key; false: another handshake has. */
      burn(): boolean;
    }
  | { readonly why: 'not-offered' | 'unavailable' | 'policy'; readonly reason: FallbackReason };

/** Takes over connections of the key channel. */
export interface KeyChannelAcceptor {
  /** `peerSae` was authenticated. Sets a data handler before it returns; `ended` is called when it is over. */
  accept(connection: TlsConnection, peerSae: string, service: ServiceRequirement): { ended(): void };
}

/** A running service. */
export interface Tunnel {
  readonly service: string;
  readonly role: 'client' | 'server';
  readonly address: SocketAddress;
  /** Connections of applications now, handshakes included. */
  readonly connectionCount: number;
  /** Stops accepting and waits for the connections there are; resolves with how many had to be cut at the deadline. */
  drain(deadlineMs: number): Promise<number>;
  /** Stops accepting and cuts every connection. */
  close(): Promise<void>;
}
