/** Mutants that no test can or need kill, each with its reason. An entry that matches nothing is an error: it has outlived its line. */

export interface Explained {
  readonly file: string;
  /** The mutated line as it stands in the source, without its indentation. */
  readonly line: string;
  /** What the mutator made of it; absent: whatever it made of this line. */
  readonly replacement?: string;
  readonly why: string;
}

const halfConnection: readonly Explained[] = [
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (transfer !== undefined && output.length >= MIN_DETACH_BYTES && output.length === output.buffer.byteLength) {',
    why: 'the same on a runtime that has, or has not, transfer(): the tests say it for both',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'const headers = new Array<Uint8Array | undefined>(MAX_CIPHERTEXT_BYTES + 1);',
    why: 'the size that an array starts with is speed, not behaviour',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (cached !== undefined) return cached;',
    replacement: 'false',
    why: 'without the cache the same header is made again: speed',
  },
  {
    file: 'tls-ext/record/half-connection.ts',
    line: 'if (sequence > 0xffff_ffff) this.#view.setUint32(4, this.#ivHigh ^ Math.floor(sequence / 0x1_0000_0000));',
    why: 'below 2^32 the upper half is ivHigh ^ 0, which stands there already: the condition saves time',
  },
];

const recordReader: readonly Explained[] = [
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'const pooled = boundBytes > SMALL_WRITE_BYTES;',
    replacement: 'boundBytes >= SMALL_WRITE_BYTES',
    why: 'at the very bound either kind of buffer is right',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (this.#lastInner !== undefined) detach(this.#lastInner);',
    why: 'memory that was copied is freed now or by the collector later; #lastInner is always set here',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (!(error instanceof TlsError)) throw error;',
    why: 'nothing but a TlsError is thrown while records are opened; a bug of ours would come out one call later',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'while (contentBytes >= 0 && inner[contentBytes] === 0) contentBytes--;',
    why: 'before the first byte stands `undefined`, which ends the loop too; a lone zero is refused as content type 0 or as padding, with the same alert',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: "if (contentBytes < 0) throw unexpectedRecord('protected record of padding only');",
    replacement: 'false',
    why: 'the content type is `undefined` then, which is refused two lines on with the same alert: the check is for the message',
  },
  {
    file: 'tls-ext/record/record-reader.ts',
    line: 'if (error instanceof TlsError) this.#fault = error;',
    replacement: 'true',
    why: 'nothing but a TlsError gets here',
  },
];

export const explained: readonly Explained[] = [...halfConnection, ...recordReader];
