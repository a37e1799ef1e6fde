/**
 * (EC)DHE of TLS 1.3 by node:crypto (RFC 9846, "Elliptic Curve Diffie-Hellman";
 * RFC 8446, 4.2.8.2 and 7.4.2): X25519 (RFC 7748), P-256 and P-384 in the
 * uncompressed form only.
 */
import { createECDH, createPrivateKey, createPublicKey, diffieHellman, type ECDH, type KeyObject } from 'node:crypto';
import { concatBytes, fromHex, SecretBytes } from '../bytes/index.ts';
import { TlsMisuseError } from '../tls-error.ts';
import type { ClientKeyShare, KeyAgreement } from './groups.ts';
import { generateNativeKeyPair, importNativePublicKey, type NativeKeyPair } from './native-key-pair.ts';
import { plainBytes } from './plain-bytes.ts';
import { expectShareLength, illegalShare } from './share-errors.ts';

/** `lengthBytes` random bytes, owned by the caller. */
export type RandomSource = (lengthBytes: number) => Uint8Array;

interface KeyPair {
  readonly share: Uint8Array;
  derive(peerShare: Uint8Array): SecretBytes;
  forget?(): void;
}

/** Diffie-Hellman is the same on both sides, so one function makes both roles of a group. */
function ecdhe(shareBytes: number, secretBytes: number, generate: () => KeyPair): KeyAgreement {
  return {
    clientShareBytes: shareBytes,
    serverShareBytes: shareBytes,
    secretBytes,
    generateKeyShare(): ClientKeyShare {
      let pair: KeyPair | undefined = generate();
      return {
        share: pair.share,
        finish(serverShare) {
          if (pair === undefined) throw new TlsMisuseError('key share used twice');
          const secret = pair.derive(serverShare);
          this.wipe();
          return secret;
        },
        wipe() {
          pair?.forget?.();
          pair = undefined;
        },
      };
    },
    respond(clientShare) {
      const pair = generate();
      try {
        return { share: pair.share, secret: pair.derive(clientShare) };
      } finally {
        pair.forget?.();
      }
    },
  };
}

const X25519_BYTES = 32;
const x25519Pkcs8Prefix = fromHex('302e020100300506032b656e04220420');
const x25519SpkiPrefix = fromHex('302a300506032b656e032100');

/** X25519. With `random`, private keys are drawn from it (test vectors). */
export function x25519(random?: RandomSource): KeyAgreement {
  return ecdhe(X25519_BYTES, X25519_BYTES, () => {
    const { publicKey, privateKey } =
      random === undefined ? generateNativeKeyPair('x25519', x25519SpkiPrefix) : x25519PairOf(random(X25519_BYTES));
    return {
      share: publicKey,
      derive(peerShare) {
        expectShareLength('x25519', peerShare, X25519_BYTES);
        return new SecretBytes(x25519SharedSecret(privateKey, peerShare));
      },
    };
  });
}

function x25519PairOf(privateBytes: Uint8Array): NativeKeyPair {
  const der = concatBytes(x25519Pkcs8Prefix, privateBytes);
  const privateKey = createPrivateKey({ key: der as Buffer, format: 'der', type: 'pkcs8' });
  der.fill(0);
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { privateKey, publicKey: plainBytes(spki).slice(x25519SpkiPrefix.length) };
}

/** X25519(private, peer); OpenSSL refuses an all-zero result as RFC 7748, 6.1 lets it, and we look again. */
function x25519SharedSecret(privateKey: KeyObject, peerShare: Uint8Array): Uint8Array {
  const publicKey = importNativePublicKey('x25519', x25519SpkiPrefix, peerShare);
  let secret: Uint8Array;
  try {
    secret = plainBytes(diffieHellman({ privateKey, publicKey }));
  } catch (cause) {
    throw illegalShare('x25519 share of small order', cause);
  }
  let any = 0;
  for (const byte of secret) any |= byte;
  if (any === 0) throw illegalShare('x25519 share of small order');
  return secret;
}

/** ECDHE over P-256. With `random`, private keys are drawn from it (test vectors). */
export function secp256r1(random?: RandomSource): KeyAgreement {
  return primeCurve('secp256r1', 'prime256v1', 32, random);
}

/** ECDHE over P-384. With `random`, private keys are drawn from it (test vectors). */
export function secp384r1(random?: RandomSource): KeyAgreement {
  return primeCurve('secp384r1', 'secp384r1', 48, random);
}

const UNCOMPRESSED = 4;

function primeCurve(name: string, nodeName: string, fieldBytes: number, random?: RandomSource): KeyAgreement {
  const shareBytes = 1 + 2 * fieldBytes;
  return ecdhe(shareBytes, fieldBytes, () => {
    const ecdh: ECDH = createECDH(nodeName);
    if (random === undefined) ecdh.generateKeys();
    else ecdh.setPrivateKey(random(fieldBytes));
    return {
      share: plainBytes(ecdh.getPublicKey()),
      derive(peerShare) {
        expectShareLength(name, peerShare, shareBytes);
        if (peerShare[0] !== UNCOMPRESSED) throw illegalShare(`${name} share is not an uncompressed point`);
        try {
          return new SecretBytes(plainBytes(ecdh.computeSecret(peerShare)));
        } catch (cause) {
          throw illegalShare(`${name} share is not on the curve`, cause);
        }
      },
    };
  });
}
