import { expect } from 'chai';
import type {
  Etsi004GetKeyResponse,
  Etsi004OpenConnectResponse,
  Etsi004Qos,
  Etsi004Response,
} from '../../../kdi-client/wire/index.ts';
import { fromHex, hexOf } from '../../../tls-ext/bytes/index.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { type KmePair, type KmePairOptions, kmePair } from './kme-fixture.ts';

export const NULL_KSID = new Uint8Array(16);
export const CHOSEN = fromHex('00112233445546778899aabbccddeeff');
export const never = new AbortController().signal;

export const QOS: Etsi004Qos = {
  keyChunkSizeBytes: 32,
  maxBps: 100_000,
  minBps: 32,
  jitterBps: 0,
  priority: 0,
  timeoutMs: 0,
  ttlSeconds: 60,
  metadataMimetype: 'application/json',
};

export type Side = 'a' | 'b';
export const SAE = { a: 'siteA', b: 'siteB' } as const;

/** The calls of the two applications, without transport and on a virtual clock. */
export class Applications {
  readonly clock: VirtualClock;
  readonly pair: KmePair;

  constructor(clock: VirtualClock, pair: KmePair) {
    this.clock = clock;
    this.pair = pair;
  }

  open(side: Side, ksid: Uint8Array, qos: Partial<Etsi004Qos> = {}, ends = ['qkd://siteA', 'qkd://siteB']) {
    return this.#call(side, {
      service: 'open-connect',
      source: ends[0] ?? '',
      destination: ends[1] ?? '',
      qos: { ...QOS, ...qos },
      ksid,
    }) as Promise<Etsi004OpenConnectResponse>;
  }

  getKey(side: Side, ksid: Uint8Array, index: number, metadataSize = 256) {
    return this.#call(side, { service: 'get-key', ksid, index, metadataSize }) as Promise<Etsi004GetKeyResponse>;
  }

  async close(side: Side, ksid: Uint8Array): Promise<number> {
    return (await this.#call(side, { service: 'close', ksid })).status;
  }

  /** Opens on both sides. */
  async connect(qos: Partial<Etsi004Qos> = {}): Promise<Uint8Array> {
    const ksid = (await this.open('a', NULL_KSID, qos)).stream?.ksid ?? NULL_KSID;
    expect((await this.open('b', ksid)).status).to.equal(0);
    return ksid;
  }

  #call(side: Side, request: Parameters<ReturnType<KmePair['a']['etsi004Handler']>>[0]): Promise<Etsi004Response> {
    return this.pair[side].etsi004Handler(SAE[side])(request, 'etsi', never);
  }
}

export async function applications(options: KmePairOptions = {}): Promise<Applications> {
  const clock = new VirtualClock();
  return new Applications(clock, await kmePair({ listen: false, clock, ...options }));
}

export function keyOf(response: Etsi004GetKeyResponse): string {
  expect(response.status).to.equal(0);
  return hexOf(response.delivery?.key ?? new Uint8Array());
}
