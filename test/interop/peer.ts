/** What the matrix knows of a peer: one file for each in peers/, with its abilities as data and how it is started. */
import type { Choice, Feature } from './axes.ts';
import type { Credentials, LeafCredential } from './credentials.ts';
import type { Program } from './peer-process.ts';
import type { Place } from './places.ts';
import type { Conversation, Talk } from './talk.ts';

/** Which end of the connection the peer is. */
export type Role = 'server' | 'client';

/** An external PSK of both ends. */
export interface SharedPsk {
  readonly identity: string;
  readonly secret: Uint8Array;
}

/** The PSK of peers that let us choose it. */
export const ourPsk: SharedPsk = { identity: 'Client_identity', secret: new Uint8Array(32).fill(0xab) };

/** What a peer's end is started with. */
export interface Setting {
  readonly choice: Choice;
  /**
   * In the peer's own names. A server: all that it has, or for HelloRetryRequest the chosen one.
   * A client: the chosen one, after another for HelloRetryRequest.
   */
  readonly groups: readonly string[];
  /** The peer's own certificate, by the choice's signature scheme. */
  readonly leaf: LeafCredential;
  readonly credentials: Credentials;
  /** A client: where our server listens. A server that can't choose a port itself: a free one. */
  readonly port: number;
  /** A server that passes plaintext on: where to. */
  readonly backendPort: number;
  readonly place: Place;
  /** For resumption, where a client keeps its session. */
  readonly sessionPath: string;
  /** For resumption, whether this is the second connection of a client that needs a process for each. */
  readonly again: boolean;
}

/** How to start one end. */
export interface Start {
  /** One of the peer's `programs`. */
  readonly program: string;
  readonly args: readonly string[];
  /** What it says when it listens. Not for clients without a plaintext side. */
  readonly ready?: RegExp;
}

export interface PeerEnd {
  /** Groups by IANA's names, and what the peer calls them. */
  readonly groups: Readonly<Record<string, string>>;
  readonly suites: readonly string[];
  /** Signature schemes that it makes and verifies. */
  readonly signatures: readonly string[];
  readonly features: readonly Feature[];
  /** Why not, for every value that isn't above: values and the reason. */
  readonly cannot: readonly (readonly [values: readonly string[], reason: string])[];
  /** Combinations that the peer doesn't do though it does each value: the reason. */
  excludes?(choice: Choice): string | undefined;
  /** The PSK of a peer whose programs have one built in. */
  readonly psk?: SharedPsk;
  start(setting: Setting): Start;
  readonly talk: Talk;
  /**
   * A client that connects a second time by itself when it is told to resume: what is said in its first
   * connection. Others are started again, or get a second plaintext connection.
   */
  readonly beforeReconnecting?: (conversation: Conversation) => Promise<void>;
  /** It has a plaintext side: a server connects to `backendPort`, a client listens as `ready` says. */
  readonly passesOn?: boolean;
  /** A server that takes one connection after the other, whatever became of the one before. */
  readonly reusable?: boolean;
}

export interface Peer {
  /** As in `--peer NAME`, and the file's name. */
  readonly name: string;
  readonly title: string;
  readonly programs: readonly string[];
  readonly places: readonly Place[];
  /** How a program, or the library behind it, tells its version. */
  readonly version:
    | { readonly program: string; readonly args: readonly string[]; readonly pattern: RegExp }
    | { readonly library: string; readonly pattern: RegExp };
  /** What this version can do in each role, or why it has no such role. */
  ends(version: string, place: Place): Readonly<Record<Role, PeerEnd | string>>;
}

export function isAtLeast(version: string, wanted: string): boolean {
  const [have, want] = [version, wanted].map((text) => text.split('.').map((part) => Number.parseInt(part, 10)));
  for (const [index, part] of (want as number[]).entries()) {
    const own = have?.[index] ?? 0;
    if (own !== part) return own > part;
  }
  return true;
}

export type { Program };
