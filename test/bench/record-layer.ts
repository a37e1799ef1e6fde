/**
 * What the record layer costs beside the AES that it is made of: our seal and
 * open of bulk data against bare `createCipheriv`/`createDecipheriv` over the
 * same records, in interleaved rounds, as ratios of the medians.
 *
 *     node --expose-gc --import tsx test/bench/record-layer.ts [--rounds 15] [--mebibytes 32]
 */
import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto';
import { parseArgs } from 'node:util';
import { SecretBytes } from '../../tls-ext/bytes/index.ts';
import { type CipherSuiteInfo, cipherSuiteInfo } from '../../tls-ext/crypto/index.ts';
import { createBufferPool, RecordReader, RecordWriter } from '../../tls-ext/record/index.ts';

const RECORD_BYTES = 16_384;
const CHUNK_BYTES = 32 * RECORD_BYTES;

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, mebibytes: { type: 'string', default: '32' } },
});
const rounds = Number(values.rounds);
const chunks = Math.ceil((Number(values.mebibytes) * 2 ** 20) / CHUNK_BYTES);
const records = chunks * (CHUNK_BYTES / RECORD_BYTES);

const suite = cipherSuiteInfo(0x1302) as CipherSuiteInfo;
const keys = () => ({
  suite,
  key: new SecretBytes(new Uint8Array(32).fill(1)),
  iv: new SecretBytes(new Uint8Array(12).fill(2)),
});

const rawKey = createSecretKey(new Uint8Array(32).fill(1));
const nonce = new Uint8Array(12);
const additional = new Uint8Array(5);
const plaintext = new Uint8Array(CHUNK_BYTES + 1).fill(7);
const inner = plaintext.subarray(0, RECORD_BYTES + 1);

function bareSeal(): void {
  for (let i = 0; i < records; i++) {
    const cipher = createCipheriv('aes-256-gcm', rawKey, nonce, { authTagLength: 16 });
    cipher.setAAD(additional);
    cipher.update(inner);
    cipher.final();
    cipher.getAuthTag();
  }
}

const sample = (() => {
  const cipher = createCipheriv('aes-256-gcm', rawKey, nonce, { authTagLength: 16 });
  cipher.setAAD(additional);
  const body = cipher.update(inner);
  cipher.final();
  return { body, tag: cipher.getAuthTag() };
})();

function bareOpen(): void {
  for (let i = 0; i < records; i++) {
    const decipher = createDecipheriv('aes-256-gcm', rawKey, nonce, { authTagLength: 16 });
    decipher.setAAD(additional);
    decipher.setAuthTag(sample.tag);
    decipher.update(sample.body);
    decipher.final();
  }
}

const pool = createBufferPool(8);

function ourSeal(): void {
  const writer = new RecordWriter({ pool });
  writer.setKeys(keys());
  for (let i = 0; i < chunks; i++) {
    for (const chunk of writer.sealInPlace(plaintext, 0, CHUNK_BYTES)) chunk.release?.();
  }
}

/** Sealed chunks, opened in pieces of half a mebibyte, as a socket with a static read buffer gives them: cut within records. */
const sealedStream = (() => {
  const writer = new RecordWriter({ pool });
  writer.setKeys(keys());
  const stream = new Uint8Array(chunks * 32 * (RECORD_BYTES + 22));
  let at = 0;
  for (let i = 0; i < chunks; i++) {
    for (const chunk of writer.sealInPlace(plaintext, 0, CHUNK_BYTES)) {
      stream.set(chunk.bytes, at);
      at += chunk.bytes.length;
      chunk.release?.();
    }
  }
  return stream;
})();

function ourOpen(): void {
  const reader = new RecordReader({ pool });
  reader.setKeys(keys());
  let opened = 0;
  for (let at = 0; at < sealedStream.length; at += CHUNK_BYTES) {
    reader.receive(sealedStream.subarray(at, at + CHUNK_BYTES));
    for (let record = reader.next(); record !== undefined; record = reader.next()) {
      opened += record.bytes.length;
      record.release?.();
    }
  }
  if (opened !== chunks * CHUNK_BYTES) throw new Error(`opened ${opened} bytes`);
}

const SMALL_MESSAGES = 2_000;

function smallMessages(): void {
  const writer = new RecordWriter({ pool });
  const reader = new RecordReader({ pool });
  writer.setKeys(keys());
  reader.setKeys(keys());
  for (let i = 0; i < SMALL_MESSAGES; i++) {
    for (const { bytes } of writer.sealInPlace(plaintext, 0, 64)) reader.receive(bytes);
    while (reader.next() !== undefined);
  }
}

const contestants = { bareSeal, ourSeal, bareOpen, ourOpen, smallMessages };
type Name = keyof typeof contestants;
const names = Object.keys(contestants) as Name[];
const microseconds: Record<Name, number[]> = {
  bareSeal: [],
  ourSeal: [],
  bareOpen: [],
  ourOpen: [],
  smallMessages: [],
};

for (let round = -2; round < rounds; round++) {
  for (const name of names) {
    const start = process.hrtime.bigint();
    contestants[name]();
    const elapsed = Number(process.hrtime.bigint() - start) / 1000;
    if (round >= 0) microseconds[name].push(elapsed / (name === 'smallMessages' ? SMALL_MESSAGES : records));
  }
}

function median(samples: number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}

const per = Object.fromEntries(names.map((name) => [name, median(microseconds[name])])) as Record<Name, number>;
console.log(
  JSON.stringify(
    {
      node: process.version,
      rounds,
      microsecondsPerRecord: Object.fromEntries(names.map((name) => [name, Number(per[name].toFixed(2))])),
      sealToBare: Number((per.ourSeal / per.bareSeal).toFixed(3)),
      openToBare: Number((per.ourOpen / per.bareOpen).toFixed(3)),
    },
    null,
    2,
  ),
);
