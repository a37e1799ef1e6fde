/** Survivors of the endpoint, with their reasons. */
import type { Explained } from './explained.ts';

type MutatedLine = readonly [line: string, replacement?: string];

const because = (why: string, ...mutants: readonly MutatedLine[]): Explained[] =>
  mutants.map(([line, replacement]) => ({
    file: 'tls-ext/tls-endpoint.ts',
    line,
    ...(replacement === undefined ? {} : { replacement }),
    why,
  }));

const rekeyPossible = "return this.#state === 'open' && (this.#postHandshake?.rekeying.possible ?? false);";
const pause = 'this.#pause = step?.done === false ? step.value : undefined;';

export const endpoint: readonly Explained[] = [
  ...because(
    'for the compiler: a field that is `undefined` is absent as well',
    ['this.#reader = new RecordReader(options.bufferPool === undefined ? {} : { pool: options.bufferPool });', 'false'],
    ["this.#events.push({ type: 'plaintext', bytes, ...(release === undefined ? {} : { release }) });", 'false'],
    ['...(this.#qkdResult === undefined ? {} : { qkdResult: this.#qkdResult }),', 'false'],
  ),
  ...because(
    'for the compiler: an open connection is behind its handshake',
    ['if (this.#postHandshake?.rekeying.close()) this.#closeDeferred = true;', 'this.#postHandshake.rekeying'],
    [rekeyPossible, 'this.#postHandshake.rekeying'],
    [rekeyPossible, 'true'],
    ['this.#postHandshake?.rekeying.peerClosed();', 'this.#postHandshake.rekeying'],
    ['this.#postHandshake?.applicationData(lengthBytes);', 'this.#postHandshake.applicationData'],
  ),
  ...because(
    'for the compiler: a handshake that goes on has its steps, and waits for something',
    ["if (this.#state !== 'handshaking' || this.#pause?.state === 'ExpectClientHello') {", 'this.#pause.state'],
    [
      "const limit = this.#pause?.awaits === 'psk-decision' ? MAX_PAUSED_BYTES_BEFORE_HELLO : MAX_PAUSED_BYTES;",
      'this.#pause.awaits',
    ],
    ["return this.#state === 'handshaking' && this.#pause !== undefined && this.#pause.awaits !== 'message';"],
    ['const step = answer === undefined ? this.#steps?.next() : this.#steps?.next(answer);'],
    [pause, 'step.done'],
    ['if (!step?.done) return;', 'step.done'],
  ),
  ...because('what a handshake waits for is asked for in a handshake only', [pause, 'true']),
  ...because('of the second half: what a handshake waits for is forgotten with it', [
    "if (this.#pause?.awaits !== awaited || this.#state !== 'handshaking') {",
    'false',
  ]),
  ...because('what follows ends both directions', ['this.#readClosed = true;', 'false']),
  ...because(
    'an end closes our side for sending, and one that is closed sends no second alert',
    ["if (this.#state === 'ended' || this.#closing) return [];"],
    ["if (this.#state === 'ended') return [];"],
    ["if (this.#state === 'ended' || this.#closing) return undefined;"],
    ['this.#closeDeferred = false;', 'true'],
  ),
  ...because('an end wipes the reader, which has no record then', [
    "while (!this.#readClosed && (this.#state === 'handshaking' || this.#state === 'open')) {",
    'true',
  ]),
];
