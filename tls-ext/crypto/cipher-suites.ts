/** Cipher suites of TLS 1.3 (RFC 9846, "Cipher Suites"; RFC 8446, B.4) and their AEADs' limits. */
import type { CipherGCMTypes } from 'node:crypto';
import type { HashName } from './hash.ts';

export const CipherSuite = {
  aes128GcmSha256: 0x1301,
  aes256GcmSha384: 0x1302,
  chacha20Poly1305Sha256: 0x1303,
} as const;
export type CipherSuite = (typeof CipherSuite)[keyof typeof CipherSuite];

/** An AEAD as record protection uses it: nonces of 12 bytes, tags of 16 (RFC 5116, RFC 8439). */
export interface AeadAlgorithm {
  /** Its name in node:crypto. */
  readonly nodeName: CipherGCMTypes | 'chacha20-poly1305';
  readonly keyLengthBytes: number;
  /**
   * Records that one key may seal (RFC 9846, "Limits on Key Usage"; RFC 8446,
   * 5.5): 2^24.5 full-size records for AES-GCM; for ChaCha20-Poly1305 the
   * sequence number would wrap first, here at the largest exact integer.
   */
  readonly sealLimitRecords: number;
}

export interface CipherSuiteInfo {
  readonly codePoint: CipherSuite;
  /** IANA's name. */
  readonly name: string;
  readonly hash: HashName;
  readonly aead: AeadAlgorithm;
}

const GCM_SEAL_LIMIT_RECORDS = Math.floor(2 ** 24.5);

const aes128Gcm: AeadAlgorithm = {
  nodeName: 'aes-128-gcm',
  keyLengthBytes: 16,
  sealLimitRecords: GCM_SEAL_LIMIT_RECORDS,
};
const aes256Gcm: AeadAlgorithm = {
  nodeName: 'aes-256-gcm',
  keyLengthBytes: 32,
  sealLimitRecords: GCM_SEAL_LIMIT_RECORDS,
};
const chacha20Poly1305: AeadAlgorithm = {
  nodeName: 'chacha20-poly1305',
  keyLengthBytes: 32,
  sealLimitRecords: Number.MAX_SAFE_INTEGER,
};

/** Every suite we speak, strongest first. */
export const cipherSuites: readonly CipherSuiteInfo[] = [
  {
    codePoint: CipherSuite.aes256GcmSha384,
    name: 'TLS_AES_256_GCM_SHA384',
    hash: 'sha384',
    aead: aes256Gcm,
  },
  {
    codePoint: CipherSuite.chacha20Poly1305Sha256,
    name: 'TLS_CHACHA20_POLY1305_SHA256',
    hash: 'sha256',
    aead: chacha20Poly1305,
  },
  {
    codePoint: CipherSuite.aes128GcmSha256,
    name: 'TLS_AES_128_GCM_SHA256',
    hash: 'sha256',
    aead: aes128Gcm,
  },
];

const byCodePoint = new Map<number, CipherSuiteInfo>(cipherSuites.map((suite) => [suite.codePoint, suite]));

/** The suite of a code point, or `undefined` if we don't speak it. */
export function cipherSuiteInfo(codePoint: number): CipherSuiteInfo | undefined {
  return byCodePoint.get(codePoint);
}

/** IANA's name of a suite, or its code point in hex. */
export function cipherSuiteName(codePoint: number): string {
  return byCodePoint.get(codePoint)?.name ?? `0x${codePoint.toString(16).padStart(4, '0')}`;
}
