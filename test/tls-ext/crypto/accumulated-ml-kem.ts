/**
 * Accumulated known answers of ML-KEM, as defined by C2SP/CCTV and used by Go:
 * inputs are drawn from SHAKE128 of nothing, all outputs go into one SHAKE128.
 */
import { createHash } from 'node:crypto';
import { bytesEqual, hexOf } from '../../../tls-ext/bytes/index.ts';
import { deterministicMlKem, type MlKemParameterSet, mlKemLengths } from '../../../tls-ext/crypto/ml-kem.ts';

/** Hex of the 32-byte accumulator over (ek, ciphertext, secret, secret of a random ciphertext) of `iterations` runs. */
export function accumulatedMlKem(parameters: MlKemParameterSet, iterations: number): string {
  const { ciphertext: ciphertextBytes } = mlKemLengths[parameters];
  const stream = new Uint8Array(createHash('shake128', { outputLength: iterations * (96 + ciphertextBytes) }).digest());
  let at = 0;
  const draw = (lengthBytes: number) => {
    at += lengthBytes;
    return stream.slice(at - lengthBytes, at);
  };
  const kem = deterministicMlKem(parameters, draw);
  const accumulator = createHash('shake128', { outputLength: 32 });
  for (let i = 0; i < iterations; i++) {
    const pair = kem.generateKeyPair();
    const { ciphertext, sharedSecret } = kem.encapsulate(pair.encapsulationKey);
    if (!bytesEqual(pair.decapsulate(ciphertext).expose(), sharedSecret.expose())) throw new Error('secrets differ');
    const rejected = pair.decapsulate(draw(ciphertextBytes));
    for (const output of [pair.encapsulationKey, ciphertext, sharedSecret.expose(), rejected.expose()]) {
      accumulator.update(output);
    }
  }
  return hexOf(accumulator.digest());
}
