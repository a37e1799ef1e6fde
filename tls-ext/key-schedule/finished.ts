/** Finished and PSK binders: MACs under a finished_key (RFC 9846, "Finished" and "PSK Binder"; RFC 8446, 4.4.4 and 4.2.11.2). */
import { constantTimeEqual, type SecretBytes } from '../bytes/index.ts';
import { type HashName, hashLengthBytes } from '../crypto/hash.ts';
import { hkdfExpandLabel } from '../crypto/hkdf.ts';
import { hmac } from '../crypto/hmac.ts';
import type { MainSecret } from './key-schedule.ts';
import type { BinderKey, HandshakeTrafficSecret } from './secrets.ts';

const empty = new Uint8Array(0);

/** verify_data of Finished: under the sender's handshake traffic secret, over the transcript before it. */
export function finishedVerifyData(
  hash: HashName,
  baseKey: HandshakeTrafficSecret,
  transcriptHash: Uint8Array,
): Uint8Array {
  return finishedMac(hash, baseKey, transcriptHash);
}

/** Whether a peer's verify_data is right; in time that doesn't depend on where it differs. */
export function verifyFinished(
  hash: HashName,
  baseKey: HandshakeTrafficSecret,
  transcriptHash: Uint8Array,
  verifyData: Uint8Array,
): boolean {
  return constantTimeEqual(finishedMac(hash, baseKey, transcriptHash), verifyData);
}

/** A PskBinderEntry. `transcriptHash`: of all up to and with the ClientHello, cut before its binders list. */
export function pskBinder(hash: HashName, binderKey: BinderKey, transcriptHash: Uint8Array): Uint8Array {
  return finishedMac(hash, binderKey, transcriptHash);
}

/** Whether a client's binder is right; in time that doesn't depend on where it differs. */
export function verifyPskBinder(
  hash: HashName,
  binderKey: BinderKey,
  transcriptHash: Uint8Array,
  binder: Uint8Array,
): boolean {
  return constantTimeEqual(finishedMac(hash, binderKey, transcriptHash), binder);
}

/** Who confirms a rekey. */
export type RekeyParty = 'client' | 'server';

const confirmationLabels: Readonly<Record<RekeyParty, string>> = {
  client: 'rekey c confirm',
  server: 'rekey s confirm',
};

/**
 * The MAC by which `party` proves that it has main_{N+1} (draft-qstunnel-tls-qkd-psk):
 * HMAC(Derive-Secret(main_{N+1}, "rekey c confirm" | "rekey s confirm", th_{N+1}), th_{N+1}).
 */
export function rekeyConfirmation(main: MainSecret, party: RekeyParty, transcriptHash: Uint8Array): Uint8Array {
  const key = main.deriveNamed(confirmationLabels[party], transcriptHash);
  const mac = hmac(main.hash, key, transcriptHash);
  key.wipe();
  return mac;
}

/** Whether a peer's confirmation is right; in time that doesn't depend on where it differs. */
export function verifyRekeyConfirmation(
  main: MainSecret,
  party: RekeyParty,
  transcriptHash: Uint8Array,
  confirmation: Uint8Array,
): boolean {
  return constantTimeEqual(rekeyConfirmation(main, party, transcriptHash), confirmation);
}

function finishedMac(hash: HashName, baseKey: SecretBytes, transcriptHash: Uint8Array): Uint8Array {
  const finishedKey = hkdfExpandLabel(hash, baseKey, 'finished', empty, hashLengthBytes[hash]);
  const mac = hmac(hash, finishedKey, transcriptHash);
  finishedKey.wipe();
  return mac;
}
