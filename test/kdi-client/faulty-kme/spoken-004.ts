/** The 004 side of a faulty key manager: requests to replies, as bytes of the dialect that was spoken. */
import { randomUUID } from 'node:crypto';
import {
  decodeRequest,
  type Etsi004Dialect,
  type Etsi004Frame,
  type Etsi004Qos,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Status,
  encodeResponse,
  isNullKsid,
} from '../../../kdi-client/wire/index.ts';
import { hexOf, utf8 } from '../../../tls-ext/bytes/index.ts';
import type { SpokenFault } from './faults.ts';
import type { LinkModel } from './link-model.ts';
import type { Spoken } from './spoken.ts';

export class Spoken004 {
  readonly #model: LinkModel;
  readonly #side: 'drawer' | 'answerer';
  readonly #streams = new Map<string, Etsi004Qos>();
  #last: Etsi004Response | undefined;

  constructor(model: LinkModel, side: 'drawer' | 'answerer') {
    this.#model = model;
    this.#side = side;
  }

  /** Streams open now. */
  get streams(): number {
    return this.#streams.size;
  }

  forget(): void {
    this.#streams.clear();
  }

  answer(frame: Etsi004Frame, fault: SpokenFault | undefined): Spoken {
    const request = decodeRequest(frame);
    const names: string[] = [];
    const response =
      fault?.fault === 'status'
        ? ({ service: request.service, status: fault.status } as Etsi004Response)
        : this.#respond(request, fault, names);
    return { bytes: encode(frame.dialect, response), names, closes: frame.dialect === 'etsi' };
  }

  #respond(request: Etsi004Request, fault: SpokenFault | undefined, names: string[]): Etsi004Response {
    switch (request.service) {
      case 'open-connect': {
        const ksid = isNullKsid(request.ksid)
          ? Uint8Array.from(Buffer.from(randomUUID().replaceAll('-', ''), 'hex'))
          : Uint8Array.from(request.ksid);
        this.#streams.set(hexOf(ksid), request.qos);
        return { service: 'open-connect', status: Etsi004Status.success, stream: { qos: request.qos, ksid } };
      }
      case 'get-key':
        return this.#key(request, fault, names);
      case 'close': {
        const known = this.#streams.delete(hexOf(request.ksid));
        return { service: 'close', status: known ? Etsi004Status.success : Etsi004Status.noQkdConnection };
      }
    }
  }

  #key(
    request: Extract<Etsi004Request, { service: 'get-key' }>,
    fault: SpokenFault | undefined,
    names: string[],
  ): Etsi004Response {
    const ksid = hexOf(request.ksid);
    const qos = this.#streams.get(ksid);
    const failure = (status: number): Etsi004Response => ({ service: 'get-key', status });
    if (qos === undefined) return failure(Etsi004Status.noQkdConnection);
    if (fault?.fault === 'repeat' && this.#last !== undefined) return this.#last;
    if (fault?.fault === 'big-metadata' && request.metadataSize < fault.bytes) {
      return { service: 'get-key', status: Etsi004Status.metadataTooSmall, metadataSizeNeeded: fault.bytes };
    }
    const name = `${ksid}/${request.index}`;
    const key = this.#side === 'drawer' ? this.#model.draw(name, qos.keyChunkSizeBytes) : this.#model.fetch(name);
    if (key === undefined) return failure(Etsi004Status.insufficientKey);
    names.push(name);
    if (fault?.fault === 'other-bits') key[0] = (key[0] as number) ^ 1;
    const metadata = fault?.fault === 'big-metadata' ? utf8('{"age":1}'.padEnd(fault.bytes)) : new Uint8Array();
    const response: Etsi004Response = {
      service: 'get-key',
      status: Etsi004Status.success,
      delivery: {
        index: request.index + (fault?.fault === 'other-id' ? 1_000 : 0),
        key: fault?.fault === 'length' ? new Uint8Array(fault.bytes) : key,
        metadata,
      },
    };
    this.#last = response;
    return response;
  }
}

/** Does not wipe: a reply may be sent again. */
function encode(dialect: Etsi004Dialect, response: Etsi004Response): Uint8Array {
  return encodeResponse(dialect, response);
}
