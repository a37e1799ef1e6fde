/** What a tunnel is told, and the narrow ports through which it asks for the rest. */

import type {
  BufferPool,
  EngineIdentity,
  NoOfferReason,
  PlainPsk,
  PskDecision,
  QkdKeyReference,
  QkdPsk,
  ServiceRequirement,
} from '../../tls-ext/index.ts';
import type { SocketAddress } from '../data-path/index.ts';
import type { PskRequired, TlsConnection } from '../data-path/tls-connection.ts';
import type { EventLog } from '../log.ts';
import type { FallbackReason, PolicySettings, Requirement } from '../policy.ts';
import type { PeerRules } from '../verdict.ts';

/** ALPN protocol ID of the key channel: on the port of every server service, never forwarded. */
export const KEY_CHANNEL_ALPN = 'qstunnel-key/1';

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
}

/** A key taken for one handshake. Exactly one of `commit` and `release` is called, once. */
export interface KeyLease {
  readonly psk: QkdPsk | PlainPsk;
  /** What the log shows. */
  readonly keyId: string;
  /** The handshake is complete and used it. */
  commit(): void;
  /** It was not used: after an unfinished handshake it may be offered again; one that the peer does not have is burnt. */
  release(why: 'unfinished' | 'unavailable'): void;
}

export type KeyOffer = { readonly lease: KeyLease } | { readonly reason: NoOfferReason };

export type { ServiceRequirement };

/** Where a client tunnel gets its keys. */
export interface ClientKeys {
  /** What the other side said that it requires, once it has. The stricter of both holds. */
  readonly peerRequirement: Requirement | undefined;
  /** A key if there is one now; never waits. */
  take(): KeyOffer;
  /** A key as soon as there is one, or the reason why there was none within the time. */
  takeWithin(timeoutMs: number, signal: AbortSignal): Promise<KeyOffer>;
}

/** Where a server tunnel gets its keys. Answers at once, so that no handshake waits for a key manager; `auth: psk` alone may have to. */
export interface ServerKeys {
  lookUp(event: PskRequired, remoteAddress: string): ServerKeyAnswer | PendingKeyAnswer;
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
