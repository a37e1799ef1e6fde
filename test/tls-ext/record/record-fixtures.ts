/** What the record layer's tests share: keys, and a peer that seals whatever it is told to, right or wrong. */
import { concatBytes, SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { AEAD_TAG_BYTES, aeadKey, createAeadCipher } from '../../../tls-ext/crypto/aead.ts';
import { type CipherSuiteInfo, cipherSuiteInfo } from '../../../tls-ext/crypto/index.ts';
import type { TrafficKeys } from '../../../tls-ext/key-schedule/index.ts';
import type { OpenedRecord, RecordReader, WriteChunk } from '../../../tls-ext/record/index.ts';

export const aes256 = cipherSuiteInfo(0x1302) as CipherSuiteInfo;

/** Fresh copies of the keys of an epoch; equal for equal epochs. */
export function keysOf(epoch: number, suite: CipherSuiteInfo = aes256): TrafficKeys {
  return {
    suite,
    key: new SecretBytes(new Uint8Array(suite.aead.keyLengthBytes).fill(epoch + 1)),
    iv: new SecretBytes(new Uint8Array(12).fill(0xf0 ^ epoch)),
  };
}

/** Seals any TLSInnerPlaintext at any sequence number, without the writer under test: nonce and header are computed here anew. */
export function sealRaw(epoch: number, sequence: number, inner: Uint8Array, header?: Uint8Array): Uint8Array {
  const { key, iv } = keysOf(epoch);
  const nonce = Uint8Array.from(iv.expose());
  for (let i = 0; i < 6; i++) nonce[11 - i] = (nonce[11 - i] as number) ^ (Math.floor(sequence / 256 ** i) % 256);
  const length = inner.length + AEAD_TAG_BYTES;
  const additional = header ?? Uint8Array.of(23, 3, 3, length >> 8, length & 0xff);
  const cipher = createAeadCipher(aes256.aead, aeadKey(aes256.aead, key), nonce);
  cipher.setAAD(additional);
  const body = cipher.update(inner);
  cipher.final();
  return concatBytes(additional, body, cipher.getAuthTag());
}

/** Content, content type and zeros. */
export function innerOf(content: Uint8Array, type: number, paddingBytes = 0): Uint8Array {
  return concatBytes(content, Uint8Array.of(type), new Uint8Array(paddingBytes));
}

export function plaintextRecord(type: number, fragment: Uint8Array, version = 0x0303): Uint8Array {
  return concatBytes(
    Uint8Array.of(type, version >> 8, version & 0xff, fragment.length >> 8, fragment.length & 0xff),
    fragment,
  );
}

/** Everything that `next` has to say now; pooled bytes are copied and released. */
export function drain(reader: RecordReader): OpenedRecord[] {
  const records: OpenedRecord[] = [];
  for (let record = reader.next(); record !== undefined; record = reader.next()) {
    records.push({ type: record.type, bytes: record.bytes.slice(), protected: record.protected });
    record.release?.();
  }
  return records;
}

/** All bytes of some writes, copied; pooled memory is released. */
export function bytesOf(chunks: readonly WriteChunk[]): Uint8Array {
  const whole = concatBytes(...chunks.map((chunk) => chunk.bytes));
  for (const chunk of chunks) chunk.release?.();
  return whole;
}

/** Bytes that repeat nowhere near: position-dependent, so that an exchange of two records shows. */
export function patterned(lengthBytes: number, seed = 1): Uint8Array {
  let state = seed >>> 0 || 1;
  return Uint8Array.from({ length: lengthBytes }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
}
