/**
 * Hybrid key agreement: ML-KEM beside ECDHE, shares and secrets concatenated
 * (RFC 9954; groups: RFC 10024). The secret stands while either part stands.
 */
import { Alert } from '../alert.ts';
import { concatBytes, SecretBytes } from '../bytes/index.ts';
import { TlsError, TlsErrorCode, TlsMisuseError } from '../tls-error.ts';
import type { ClientKeyShare, KeyAgreement } from './groups.ts';
import { ML_KEM_SECRET_BYTES, type MlKem, type MlKemKeyPair, mlKemLengths } from './ml-kem.ts';
import { expectShareLength, illegalShare } from './share-errors.ts';

/** Which part stands first, in both shares and in the secret alike. */
export type HybridOrder = 'ml-kem-first' | 'ec-first';

/** The hybrid group of an ML-KEM parameter set and an elliptic curve. */
export function hybridKeyAgreement(mlKem: MlKem, ec: KeyAgreement, order: HybridOrder): KeyAgreement {
  const lengths = mlKemLengths[mlKem.parameters];
  const clientShareBytes = lengths.encapsulationKey + ec.clientShareBytes;
  const serverShareBytes = lengths.ciphertext + ec.serverShareBytes;
  const name = `hybrid ${mlKem.parameters}`;

  const join = (kemPart: Uint8Array, ecPart: Uint8Array) =>
    order === 'ml-kem-first' ? concatBytes(kemPart, ecPart) : concatBytes(ecPart, kemPart);
  const split = (share: Uint8Array, kemPartBytes: number) => {
    const at = order === 'ml-kem-first' ? kemPartBytes : share.length - kemPartBytes;
    const first = share.subarray(0, at);
    const second = share.subarray(at);
    return order === 'ml-kem-first' ? { kemPart: first, ecPart: second } : { kemPart: second, ecPart: first };
  };
  const joinSecrets = (kemSecret: SecretBytes, ecSecret: SecretBytes) => {
    const secret = new SecretBytes(join(kemSecret.expose(), ecSecret.expose()));
    kemSecret.wipe();
    ecSecret.wipe();
    return secret;
  };

  return {
    clientShareBytes,
    serverShareBytes,
    secretBytes: ML_KEM_SECRET_BYTES + ec.secretBytes,

    generateKeyShare(): ClientKeyShare {
      const ecFirst = order === 'ec-first' ? ec.generateKeyShare() : undefined;
      let kemPair: MlKemKeyPair | undefined = mlKem.generateKeyPair();
      const ecShare = ecFirst ?? ec.generateKeyShare();
      return {
        share: join(kemPair.encapsulationKey, ecShare.share),
        finish(serverShare) {
          if (kemPair === undefined) throw new TlsMisuseError('key share used twice');
          expectShareLength(name, serverShare, serverShareBytes);
          const { kemPart, ecPart } = split(serverShare, lengths.ciphertext);
          const pair = kemPair;
          const ecSecret = ecShare.finish(ecPart);
          const kemSecret = wipedOnFailure(ecSecret, () => decapsulate(pair, kemPart));
          this.wipe();
          return joinSecrets(kemSecret, ecSecret);
        },
        wipe() {
          ecShare.wipe();
          kemPair?.wipe();
          kemPair = undefined;
        },
      };
    },

    respond(clientShare) {
      expectShareLength(name, clientShare, clientShareBytes);
      const { kemPart, ecPart } = split(clientShare, lengths.encapsulationKey);
      expectReducedCoefficients(kemPart);
      const ecFirst = order === 'ec-first' ? ec.respond(ecPart) : undefined;
      const { ciphertext, sharedSecret } = wipedOnFailure(ecFirst?.secret, () => mlKem.encapsulate(kemPart));
      const ecAnswer = ecFirst ?? wipedOnFailure(sharedSecret, () => ec.respond(ecPart));
      return { share: join(ciphertext, ecAnswer.share), secret: joinSecrets(sharedSecret, ecAnswer.secret) };
    },
  };
}

/** Makes the second part; if that fails, the secret of the first one is of no use any more. */
function wipedOnFailure<T>(first: SecretBytes | undefined, second: () => T): T {
  try {
    return second();
  } catch (error) {
    first?.wipe();
    throw error;
  }
}

const ML_KEM_Q = 3329;
const ML_KEM_RHO_BYTES = 32;

/**
 * The encapsulation-key check of FIPS 203, 7.2: each 12-bit coefficient is
 * below q. Done here for every implementation alike, so that the alert doesn't
 * depend on how a library words its error.
 */
function expectReducedCoefficients(encapsulationKey: Uint8Array): void {
  for (let at = 0; at < encapsulationKey.length - ML_KEM_RHO_BYTES; at += 3) {
    const low = encapsulationKey[at] as number;
    const middle = encapsulationKey[at + 1] as number;
    const high = encapsulationKey[at + 2] as number;
    if ((low | ((middle & 15) << 8)) >= ML_KEM_Q || ((middle >> 4) | (high << 4)) >= ML_KEM_Q) {
      throw illegalShare('ML-KEM encapsulation key with a coefficient of q or more');
    }
  }
}

function decapsulate(pair: MlKemKeyPair, ciphertext: Uint8Array): SecretBytes {
  try {
    return pair.decapsulate(ciphertext);
  } catch (cause) {
    throw new TlsError(TlsErrorCode.internal, Alert.internalError, 'ML-KEM decapsulation failed', { cause });
  }
}
