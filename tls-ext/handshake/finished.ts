/** Finished, ours and the peer's (RFC 8446, 4.4.4). */
import { hashLengthBytes, type TranscriptHash } from '../crypto/index.ts';
import { finishedVerifyData, type HandshakeTrafficSecret, verifyFinished } from '../key-schedule/index.ts';
import { decodeFinished, encodeFinished, HandshakeType } from '../messages/index.ts';
import { decryptError } from './faults.ts';
import { bodyOf, type HandshakeWire, receive, type Steps } from './steps.ts';

export function sendFinished(wire: HandshakeWire, transcript: TranscriptHash, secret: HandshakeTrafficSecret): void {
  const message = encodeFinished(finishedVerifyData(transcript.hash, secret, transcript.snapshot()));
  transcript.update(message);
  wire.send(message);
}

/** {Finished} */
export function* expectFinished(
  state: 'ExpectServerFinished' | 'ExpectClientFinished',
  transcript: TranscriptHash,
  secret: HandshakeTrafficSecret,
): Steps<void> {
  const message = yield* receive(state, HandshakeType.finished);
  const verifyData = decodeFinished(bodyOf(message), hashLengthBytes[transcript.hash]);
  if (!verifyFinished(transcript.hash, secret, transcript.snapshot(), verifyData)) {
    throw decryptError("the peer's Finished does not verify");
  }
  transcript.update(message.bytes);
}
