/**
 * Named groups and the key agreements behind them (RFC 9846, "Key Share";
 * ECDHE-ML-KEM: RFC 10024; hybrid design: RFC 9954).
 *
 * A key agreement is an injected provider: native node:crypto by default,
 * ML-KEM in JavaScript where the runtime has none, and one with given
 * coins for test vectors.
 */
import type { SecretBytes } from '../bytes/index.ts';
import { type RandomSource, secp256r1, secp384r1, x25519 } from './ecdhe.ts';
import { hybridKeyAgreement } from './hybrid.ts';
import { defaultMlKem, deterministicMlKem, type MlKem, type MlKemParameterSet } from './ml-kem.ts';

export const NamedGroup = {
  secp256r1: 0x0017,
  secp384r1: 0x0018,
  x25519: 0x001d,
  secP256r1MlKem768: 0x11eb,
  x25519MlKem768: 0x11ec,
  secP384r1MlKem1024: 0x11ed,
} as const;
export type NamedGroup = (typeof NamedGroup)[keyof typeof NamedGroup];

/** The client's half of one key exchange. */
export interface ClientKeyShare {
  /** `key_exchange` of the client's KeyShareEntry. */
  readonly share: Uint8Array;
  /**
   * The shared secret, from the server's `key_exchange`. Once only: the private key is gone afterwards.
   * Throws `TlsError` illegal_parameter on a share that the group forbids.
   */
  finish(serverShare: Uint8Array): SecretBytes;
  /** Forgets the private key: for shares that the server didn't choose. Idempotent. */
  wipe(): void;
}

/** The server's half: its `key_exchange` and the shared secret, which the receiver owns. */
export interface ServerKeyShare {
  readonly share: Uint8Array;
  readonly secret: SecretBytes;
}

/** A group's key agreement. */
export interface KeyAgreement {
  readonly clientShareBytes: number;
  readonly serverShareBytes: number;
  readonly secretBytes: number;
  generateKeyShare(): ClientKeyShare;
  /** Answers the client's `key_exchange`. Throws `TlsError` illegal_parameter on a share that the group forbids. */
  respond(clientShare: Uint8Array): ServerKeyShare;
}

/** The agreement of a NamedGroup code point, or `undefined` if it isn't offered. */
export type KeyAgreementProvider = (group: number) => KeyAgreement | undefined;

export interface NamedGroupInfo {
  readonly codePoint: NamedGroup;
  /** IANA's name. */
  readonly name: string;
  /** Whether the secret stands when the elliptic curve is broken. */
  readonly postQuantum: boolean;
}

/** Every group we speak, in our order of preference. */
export const namedGroups: readonly NamedGroupInfo[] = [
  { codePoint: NamedGroup.x25519MlKem768, name: 'X25519MLKEM768', postQuantum: true },
  { codePoint: NamedGroup.secP256r1MlKem768, name: 'SecP256r1MLKEM768', postQuantum: true },
  { codePoint: NamedGroup.secP384r1MlKem1024, name: 'SecP384r1MLKEM1024', postQuantum: true },
  { codePoint: NamedGroup.x25519, name: 'x25519', postQuantum: false },
  { codePoint: NamedGroup.secp256r1, name: 'secp256r1', postQuantum: false },
  { codePoint: NamedGroup.secp384r1, name: 'secp384r1', postQuantum: false },
];

const byCodePoint = new Map<number, NamedGroupInfo>(namedGroups.map((group) => [group.codePoint, group]));

/** What we know of a group, or `undefined` if we don't speak it. */
export function namedGroupInfo(codePoint: number): NamedGroupInfo | undefined {
  return byCodePoint.get(codePoint);
}

/** IANA's name of a group, or its code point in hex. */
export function namedGroupName(codePoint: number): string {
  return byCodePoint.get(codePoint)?.name ?? `0x${codePoint.toString(16).padStart(4, '0')}`;
}

/** The runtime's key agreements: node:crypto, with ML-KEM by noble where the runtime has none. */
export const defaultKeyAgreements: KeyAgreementProvider = keyAgreements(defaultMlKem);

/**
 * Key agreements whose private keys and coins come from `random`, for test vectors only. Draws per call,
 * in order: hybrid groups first what stands first in their share; x25519 32 bytes, P-256 32,
 * P-384 48 (the private key each), ML-KEM key generation 64 (d ‖ z), encapsulation 32 (m).
 */
export function deterministicKeyAgreements(random: RandomSource): KeyAgreementProvider {
  return keyAgreements((parameters) => deterministicMlKem(parameters, random), random);
}

/** Key agreements over a given ML-KEM; `random` replaces the runtime's randomness in the elliptic curves. */
export function keyAgreements(
  mlKem: (parameters: MlKemParameterSet) => MlKem,
  random?: RandomSource,
): KeyAgreementProvider {
  const agreements = new Map<number, KeyAgreement>([
    [NamedGroup.x25519, x25519(random)],
    [NamedGroup.secp256r1, secp256r1(random)],
    [NamedGroup.secp384r1, secp384r1(random)],
    [NamedGroup.x25519MlKem768, hybridKeyAgreement(mlKem('ml-kem-768'), x25519(random), 'ml-kem-first')],
    [NamedGroup.secP256r1MlKem768, hybridKeyAgreement(mlKem('ml-kem-768'), secp256r1(random), 'ec-first')],
    [NamedGroup.secP384r1MlKem1024, hybridKeyAgreement(mlKem('ml-kem-1024'), secp384r1(random), 'ec-first')],
  ]);
  return (group) => agreements.get(group);
}
