/** The 014 and SKIP sides of a faulty key manager, as the bytes of HTTP/1.1. */
import { randomUUID } from 'node:crypto';
import type { SpokenFault } from './faults.ts';
import type { LinkModel } from './link-model.ts';
import type { Spoken } from './spoken.ts';

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

/** Cuts requests out of what arrives on a connection. */
export class HttpSplitter {
  #held = Buffer.alloc(0);

  push(bytes: Uint8Array): HttpRequest[] {
    this.#held = Buffer.concat([this.#held, bytes]);
    const requests: HttpRequest[] = [];
    for (;;) {
      const end = this.#held.indexOf('\r\n\r\n');
      if (end < 0) return requests;
      const head = this.#held.subarray(0, end).toString('latin1');
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
      if (this.#held.length < end + 4 + length) return requests;
      const [method = '', path = ''] = head.split(' ');
      requests.push({ method, path, body: this.#held.subarray(end + 4, end + 4 + length).toString() });
      this.#held = this.#held.subarray(end + 4 + length);
    }
  }
}

/** Bytes of a reply, with a length that is right. */
export function httpReply(status: number, body: string, headers = ''): Uint8Array {
  return Buffer.from(
    `HTTP/1.1 ${status} Whatever\r\ncontent-type: application/json\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

export function isKeyCall({ path }: HttpRequest): boolean {
  return /\/(?:enc_keys|dec_keys)|^\/key/.test(path);
}

interface Key {
  readonly id: string;
  readonly bytes: Uint8Array;
}

export class SpokenHttp {
  readonly #model: LinkModel;
  #last: readonly Key[] = [];

  constructor(model: LinkModel) {
    this.#model = model;
  }

  answer(request: HttpRequest, fault: SpokenFault | undefined): Spoken {
    if (fault?.fault === 'status') {
      const location = fault.location === undefined ? '' : `location: ${fault.location}\r\n`;
      return { bytes: httpReply(fault.status, fault.body ?? '', location), names: [], closes: false };
    }
    if (fault?.fault === 'body') return { bytes: httpReply(200, fault.body), names: [], closes: false };
    const names: string[] = [];
    const bytes = this.#respond(request, fault, names);
    return { bytes, names, closes: false };
  }

  #respond(request: HttpRequest, fault: SpokenFault | undefined, names: string[]): Uint8Array {
    const [path = '', query = ''] = request.path.split('?');
    if (path === '/capabilities') {
      const capabilities = { entropy: true, key: true, algorithm: 'QKD', localSystemID: 'x', remoteSystemID: ['*'] };
      return httpReply(200, JSON.stringify(capabilities));
    }
    if (path.endsWith('/status')) return httpReply(200, JSON.stringify(STATUS));
    if (path.endsWith('/enc_keys')) {
      const { number = 1 } = JSON.parse(request.body) as { number?: number };
      const keys = this.#draw(number + (fault?.fault === 'surplus' ? 1 : 0), fault, names);
      return keys === undefined ? httpReply(503, '{"message":"no key"}') : container(keys);
    }
    if (path.endsWith('/dec_keys')) {
      const { key_IDs } = JSON.parse(request.body) as { key_IDs: { key_ID: string }[] };
      const keys = this.#fetch(
        key_IDs.map(({ key_ID }) => key_ID.replaceAll('-', '').toLowerCase()),
        fault,
        names,
      );
      const message = 'one or more keys specified are not found on KME';
      return keys === undefined ? httpReply(400, JSON.stringify({ message })) : container(keys);
    }
    if (path === '/key') {
      const size = Number(new URLSearchParams(query).get('size'));
      if (size !== 256) return httpReply(400, '');
      const keys = this.#draw(1, fault, names);
      return keys === undefined ? httpReply(503, '') : skipKey(keys[0] as Key);
    }
    const keys = this.#fetch([path.slice('/key/'.length).toLowerCase()], fault, names);
    return keys === undefined ? httpReply(400, '') : skipKey(keys[0] as Key);
  }

  #draw(count: number, fault: SpokenFault | undefined, names: string[]): readonly Key[] | undefined {
    if (fault?.fault === 'repeat' && this.#last.length > 0) return this.#last;
    if (this.#model.available < count) return undefined;
    const keys: Key[] = [];
    for (let i = 0; i < count; i++) {
      const id = randomUUID().replaceAll('-', '');
      keys.push({ id, bytes: this.#model.draw(id, 32) as Uint8Array });
      names.push(id);
    }
    return this.#spoilt(keys, fault);
  }

  #fetch(ids: readonly string[], fault: SpokenFault | undefined, names: string[]): readonly Key[] | undefined {
    if (fault?.fault === 'repeat' && this.#last.length > 0) return this.#last;
    if (!ids.every((id) => this.#model.holds(id))) return undefined;
    names.push(...ids);
    return this.#spoilt(
      ids.map((id) => ({ id, bytes: this.#model.fetch(id) as Uint8Array })),
      fault,
    );
  }

  #spoilt(keys: readonly Key[], fault: SpokenFault | undefined): readonly Key[] {
    const spoilt = keys.map(({ id, bytes }): Key => {
      if (fault?.fault === 'other-bits') bytes[0] = (bytes[0] as number) ^ 1;
      return {
        id: fault?.fault === 'other-id' ? randomUUID().replaceAll('-', '') : id,
        bytes: fault?.fault === 'length' ? new Uint8Array(fault.bytes) : bytes,
      };
    });
    this.#last = spoilt;
    return fault?.fault === 'twice' ? [...spoilt.slice(1), spoilt[0] as Key, spoilt[0] as Key] : spoilt;
  }
}

const STATUS = {
  source_KME_ID: 'kme-a',
  target_KME_ID: 'kme-b',
  master_SAE_ID: 'siteA',
  slave_SAE_ID: 'siteB',
  key_size: 256,
  stored_key_count: 100,
  max_key_count: 100,
  max_key_per_request: 128,
  max_key_size: 1024,
  min_key_size: 64,
  max_SAE_ID_count: 0,
};

function container(keys: readonly Key[]): Uint8Array {
  return httpReply(
    200,
    JSON.stringify({
      keys: keys.map(({ id, bytes }) => ({
        key_ID: `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`,
        key: Buffer.from(bytes).toString('base64'),
      })),
    }),
  );
}

function skipKey({ id, bytes }: Key): Uint8Array {
  return httpReply(200, JSON.stringify({ keyId: id, key: Buffer.from(bytes).toString('hex') }));
}
