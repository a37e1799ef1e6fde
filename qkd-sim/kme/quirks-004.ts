/** Field quirks of 004 servers, as a layer around one that has none. */
import {
  type Etsi004OpenConnectResponse,
  type Etsi004Qos,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Status,
  isNullKsid,
} from '../../kdi-client/wire/index.ts';
import { concatBytes, fromUtf8, hexOf, utf8 } from '../../tls-ext/bytes/index.ts';
import type { Etsi004Handler } from './etsi004-connection.ts';
import type { Etsi004Quirks } from './quirks.ts';

/** The quirks of one key manager, with a state over all its connections. `epochMs`: milliseconds since 1970. */
export function etsi004QuirkLayer(quirks: Etsi004Quirks, epochMs: () => number) {
  const layer = new QuirkLayer(quirks, epochMs);
  return (saeId: string, handle: Etsi004Handler): Etsi004Handler => layer.wrap(saeId, handle);
}

class QuirkLayer {
  readonly #quirks: Etsi004Quirks;
  readonly #epochMs: () => number;
  readonly #opened = new Map<string, Etsi004OpenConnectResponse>();
  readonly #nextIndex = new Map<string, number>();

  constructor(quirks: Etsi004Quirks, epochMs: () => number) {
    this.#quirks = quirks;
    this.#epochMs = epochMs;
  }

  wrap(saeId: string, handle: Etsi004Handler): Etsi004Handler {
    return async (request, dialect, signal) => {
      const inner = (changed: Etsi004Request) => handle(changed, dialect, signal);
      switch (request.service) {
        case 'open-connect':
          return this.#open(saeId, request, inner);
        case 'get-key':
          return this.#getKey(saeId, request, inner);
        case 'close':
          return inner(request);
      }
    };
  }

  async #open(
    saeId: string,
    request: Extract<Etsi004Request, { service: 'open-connect' }>,
    inner: (request: Etsi004Request) => Promise<Etsi004Response>,
  ): Promise<Etsi004Response> {
    const { reusesKsid, allocatesOnQosNotMet } = this.#quirks;
    const ends = JSON.stringify([saeId, request.source, request.destination]);
    const earlier = this.#opened.get(ends);
    if (reusesKsid && isNullKsid(request.ksid) && earlier !== undefined) return earlier;
    const response = (await inner(request)) as Etsi004OpenConnectResponse;
    if (isNullKsid(request.ksid) && response.stream !== undefined && response.status <= 1) {
      this.#opened.set(ends, response);
    }
    if (!allocatesOnQosNotMet || response.status !== Etsi004Status.qosNotMet || response.stream === undefined) {
      return response;
    }
    const qos: Etsi004Qos = response.stream.qos;
    const allocated = (await inner({ ...request, qos })) as Etsi004OpenConnectResponse;
    return { ...response, ...(allocated.stream === undefined ? {} : { stream: allocated.stream }) };
  }

  async #getKey(
    saeId: string,
    request: Extract<Etsi004Request, { service: 'get-key' }>,
    inner: (request: Etsi004Request) => Promise<Etsi004Response>,
  ): Promise<Etsi004Response> {
    const stream = `${saeId}/${hexOf(request.ksid)}`;
    const index = this.#quirks.servesNextIndex ? (this.#nextIndex.get(stream) ?? 0) : request.index;
    const response = await inner({ ...request, index });
    if (response.service !== 'get-key' || response.delivery === undefined) return response;
    this.#nextIndex.set(stream, index + 1);
    return { ...response, delivery: { ...response.delivery, metadata: this.#metadata(response.delivery.metadata) } };
  }

  #metadata(metadata: Uint8Array): Uint8Array {
    if (metadata.length === 0) return metadata;
    const { ageInEpochMs, metadataTrailingNul } = this.#quirks;
    const aged = ageInEpochMs
      ? utf8(JSON.stringify({ ...JSON.parse(fromUtf8(metadata)), age: this.#epochMs() }))
      : metadata;
    return metadataTrailingNul ? concatBytes(aged, Uint8Array.of(0)) : aged;
  }
}
