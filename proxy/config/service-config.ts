/** The configuration as the program uses it: complete, typed, and the same from a file and from the command line. */
import type { KeySourceSettings } from '../../kdi-client/index.ts';
import type { SocketAddress } from '../data-path/raw-socket.ts';
import type { LogLevel } from '../log.ts';
import type { PolicySettings } from '../policy.ts';
import type { RekeyAfter } from '../tunnel/key-budget.ts';
import type { TunnelLimits } from '../tunnel/settings.ts';
import type { RequireAuth } from '../verdict.ts';
import type { Authentication, CipherSuiteName, GroupName } from './schema.ts';

/** PEM files of one identity and the CAs of its peers; absolute paths. */
export interface CredentialPaths {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** A key manager, as one service uses it. */
export interface KmeConfig {
  /** As written; it was parsed without complaint. */
  readonly url: string;
  readonly access: KmeAccess;
  /** With `kme-choose: weighted`: how often it is chosen, relative to the others. */
  readonly weight: number;
  /** Settings of the API that the URL names. */
  readonly settings: KmeApiSettings;
}

/** How a key manager and we know each other. */
export type KmeAccess =
  | {
      readonly by: 'certificate';
      readonly credentials: CredentialPaths;
      /** What its certificate must name, if not the host of the URL. */
      readonly serverName?: string;
      readonly kmeId?: string;
      readonly pinnedSha256?: readonly string[];
    }
  /** `pskFile` holds identity and key. SKIP only. */
  | { readonly by: 'psk'; readonly pskFile: string }
  | { readonly by: 'unsafe-plaintext' };

export type KmeApiSettings = Pick<KeySourceSettings, 'etsi004' | 'etsi014' | 'skip'>;

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
  readonly requireAuth: RequireAuth;
  /** In order of preference, all of one API. None: no QKD keys. */
  readonly kmes: readonly KmeConfig[];
  readonly kmeChoose: 'ordered' | 'weighted';
  /** How long a stand-in serves before the first key manager is tried again. */
  readonly kmeFailBackMs: number;
  readonly keysAhead: number;
  /** What demand can raise it to. */
  readonly keysAheadMax: number;
  readonly keyTtlMs: number;
  readonly policy: PolicySettings;
  /** How long a peer that was seen with QKD is refused without; absent: not remembered. */
  readonly rememberMs?: number;
  readonly rekeyAfter: RekeyAfter;
  /** Tickets of one connection; 0: none. */
  readonly tickets: number;
  readonly limits: TunnelLimits;
  readonly groups: readonly GroupName[];
  readonly cipherSuites: readonly CipherSuiteName[];
  readonly unsafeAllowSimulated: boolean;
  readonly provenance: ProvenanceConfig;
  readonly budget: BudgetConfig;
}

/** What is demanded of a key's making. */
export interface ProvenanceConfig {
  readonly maxHops?: number;
  readonly maxAgeMs?: number;
  readonly unknown: 'allow' | 'refuse';
}

/** What a client service may take of the keys that it shares with others. */
export interface BudgetConfig {
  /** Keys that only rekeys may take. */
  readonly reserve: number;
  /** Keys are scarce when they would run out within this. */
  readonly horizonMs: number;
  readonly priority?: 'high' | 'normal' | 'low';
  readonly weight?: number;
}

/** Everything one process is told. */
export interface ProxyConfig {
  readonly services: readonly ServiceConfig[];
  readonly logLevel: LogLevel;
  /** How long open connections may go on after SIGTERM. */
  readonly drainTimeoutMs: number;
  /** File of the single-use ledger; absent: in memory. */
  readonly ledger?: string;
}
