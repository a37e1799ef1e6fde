/** The records of a connection, opened with the secrets of its trace, as values of a vector. */
import { createDecipheriv } from 'node:crypto';
import { ByteReader, concatBytes } from '../../../tls-ext/bytes/index.ts';
import type { VectorValue } from './vector-text.ts';

export type Party = 'client' | 'server';

interface WireWrite {
  readonly from: Party;
  readonly bytes: Uint8Array;
}

interface DirectionKeys {
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
}

const ContentType = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;
const HEADER_BYTES = 5;
const TAG_BYTES = 16;

const channelMessageNames = new Map([
  [1, 'hello'],
  [2, 'state'],
  [3, 'abort'],
  [16, 'stream'],
  [17, 'keys'],
  [18, 'dropped'],
  [19, 'close_stream'],
  [32, 'opened'],
  [33, 'failed'],
  [34, 'results'],
]);

const messageNames = new Map([
  [1, 'client_hello'],
  [2, 'server_hello'],
  [4, 'new_session_ticket'],
  [8, 'encrypted_extensions'],
  [11, 'certificate'],
  [13, 'certificate_request'],
  [15, 'certificate_verify'],
  [20, 'finished'],
  [24, 'key_update'],
  [0xe0, 'rekey_request'],
  [0xe1, 'rekey_response'],
  [0xe2, 'rekey_finish'],
  [0xe3, 'rekey_wanted'],
]);

/** Each record, followed by the messages, alerts or data that end in it. `secrets` hold the traffic keys. */
export function wireValues(
  wire: readonly WireWrite[],
  secrets: readonly VectorValue[],
  cipher: 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305',
): VectorValue[] {
  const directions = {
    client: new Direction('client', secrets, cipher),
    server: new Direction('server', secrets, cipher),
  };
  const values: VectorValue[] = [];
  let number = 0;
  for (const { from, bytes } of wire) {
    const reader = new ByteReader(bytes);
    while (reader.remaining > 0) {
      const header = reader.bytes(HEADER_BYTES);
      const fragment = reader.bytes(((header[3] as number) << 8) | (header[4] as number));
      values.push({ kind: 'record', name: `${++number} ${from}`, bytes: concatBytes(header, fragment) });
      values.push(...directions[from].contents(header, fragment));
    }
  }
  for (const direction of Object.values(directions)) direction.end();
  return values;
}

/** The same, with each message of the key channel after the data in which it ends. */
export function withChannelMessages(values: readonly VectorValue[]): VectorValue[] {
  const pending: Record<string, Uint8Array> = { client: new Uint8Array(0), server: new Uint8Array(0) };
  return values.flatMap((value) => {
    if (value.kind !== 'data') return [value];
    const { messages, rest } = cutMessages(concatBytes(pending[value.name] as Uint8Array, value.bytes));
    pending[value.name] = rest;
    const end = value.name === 'client' ? 'drawer' : 'answerer';
    return [
      value,
      ...messages.map((bytes): VectorValue => {
        return { kind: 'channel', name: `${end} ${channelMessageNames.get(bytes[0] as number) ?? 'unknown'}`, bytes };
      }),
    ];
  });
}

/** Handshake messages and those of the key channel have the same header: a type and three bytes of length. */
function cutMessages(bytes: Uint8Array): { messages: Uint8Array[]; rest: Uint8Array } {
  const messages: Uint8Array[] = [];
  let rest = bytes;
  for (;;) {
    const [, high = 0, middle = 0, low = 0] = rest;
    const length = 4 + ((high << 16) | (middle << 8) | low);
    if (rest.length < 4 || rest.length < length) return { messages, rest };
    messages.push(rest.slice(0, length));
    rest = rest.slice(length);
  }
}

class Direction {
  readonly #from: Party;
  readonly #cipher: string;
  /** Those after the current ones. */
  readonly #keys: DirectionKeys[];
  #sequence = 0;
  #handshake: Uint8Array = new Uint8Array(0);

  constructor(from: Party, secrets: readonly VectorValue[], cipher: string) {
    this.#from = from;
    this.#cipher = cipher;
    const of = (part: 'key' | 'iv') =>
      secrets.filter(({ name }) =>
        new RegExp(`^${from}_(handshake|application)_${part}(_\\d+)?(_updated)?$`).test(name),
      );
    const ivs = of('iv');
    this.#keys = of('key').map(({ bytes }, at) => ({ key: bytes, iv: (ivs[at] as VectorValue).bytes }));
  }

  contents(header: Uint8Array, fragment: Uint8Array): VectorValue[] {
    if (header[0] === ContentType.changeCipherSpec) return [];
    if (header[0] !== ContentType.applicationData) return this.#content(header[0] as number, fragment);
    const inner = this.#open(header, fragment);
    const end = inner.findLastIndex((byte) => byte !== 0);
    return this.#content(inner[end] as number, inner.subarray(0, end));
  }

  end(): void {
    if (this.#handshake.length > 0) throw new Error(`half a message of the ${this.#from}`);
  }

  #content(type: number, bytes: Uint8Array): VectorValue[] {
    if (type === ContentType.alert) return [{ kind: 'alert', name: this.#from, bytes }];
    if (type === ContentType.applicationData) return [{ kind: 'data', name: this.#from, bytes }];
    const { messages, rest } = cutMessages(concatBytes(this.#handshake, bytes));
    this.#handshake = rest;
    return messages.map((message) => {
      const name = messageNames.get(message[0] as number);
      if (name === undefined) throw new Error(`handshake message ${message[0]}`);
      return { kind: 'message', name: `${this.#from} ${name}`, bytes: message };
    });
  }

  /** Under the current keys, or under the next ones if a change of keys lies before this record. */
  #open(header: Uint8Array, fragment: Uint8Array): Uint8Array {
    for (; this.#keys.length > 0; this.#keys.shift(), this.#sequence = 0) {
      const inner = this.#tryOpen(header, fragment);
      if (inner !== undefined) return inner;
    }
    throw new Error(`a record of the ${this.#from} that no traffic key opens`);
  }

  #tryOpen(header: Uint8Array, fragment: Uint8Array): Uint8Array | undefined {
    const keys = this.#keys[0] as DirectionKeys;
    const nonce = keys.iv.slice();
    new DataView(nonce.buffer).setUint32(8, new DataView(nonce.buffer).getUint32(8) ^ this.#sequence);
    const decipher = createDecipheriv(this.#cipher as 'chacha20-poly1305', keys.key, nonce, {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(header, { plaintextLength: fragment.length - TAG_BYTES });
    decipher.setAuthTag(fragment.subarray(-TAG_BYTES));
    const inner = decipher.update(fragment.subarray(0, -TAG_BYTES));
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    this.#sequence++;
    return new Uint8Array(inner);
  }
}
