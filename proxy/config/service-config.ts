/** The configuration as the program uses it: complete, typed, and the same from a file and from the command line. */
import type { SocketAddress } from '../data-path/raw-socket.ts';
import type { LogLevel } from '../log.ts';
import type { PolicySettings } from '../policy.ts';
import type { TunnelLimits } from '../tunnel/settings.ts';
import type { Authentication, CipherSuiteName, GroupName } from './schema.ts';

/** PEM files of one identity and the CAs of its peers; absolute paths. */
export interface CredentialPaths {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** A key manager, as one service uses it. */
export interface KmeConfig {
  /** As written; kdi-client parses it. */
  readonly url: string;
  /** Absent with `unsafe-plaintext-kme`. */
  readonly credentials?: CredentialPaths;
  /** What its certificate must name, if not the host of the URL. */
  readonly serverName?: string;
  readonly ksid: 'allocated' | 'chosen';
  readonly openAs: 'same' | 'swapped';
}

export interface ServiceConfig {
  readonly name: string;
  readonly mode: 'client' | 'server';
  readonly accept: SocketAddress;
  readonly connect: SocketAddress;
  readonly sae: string;
  readonly peerSae: readonly string[];
  readonly auth: Authentication;
  /** Absent with `auth: psk`. */
  readonly credentials?: CredentialPaths;
  readonly verifyHost?: string;
  /** Absent: no QKD keys. */
  readonly kme?: KmeConfig;
  readonly keysAhead: number;
  readonly keyTtlMs: number;
  readonly policy: PolicySettings;
  readonly limits: TunnelLimits;
  readonly groups: readonly GroupName[];
  readonly cipherSuites: readonly CipherSuiteName[];
  readonly unsafeAllowSimulated: boolean;
}

/** Everything one process is told. */
export interface ProxyConfig {
  readonly services: readonly ServiceConfig[];
  readonly logLevel: LogLevel;
  /** How long open connections may go on after SIGTERM. */
  readonly drainTimeoutMs: number;
}
