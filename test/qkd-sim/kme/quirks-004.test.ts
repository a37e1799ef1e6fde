import { expect } from 'chai';
import type {
  Etsi004GetKeyResponse,
  Etsi004OpenConnectResponse,
  Etsi004Request,
} from '../../../kdi-client/wire/index.ts';
import type { Etsi004Quirks } from '../../../qkd-sim/kme/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { VirtualClock } from '../virtual-clock.ts';
import { kmePair } from './kme-fixture.ts';

const never = new AbortController().signal;

/** Both applications' calls at key managers with one quirk. */
async function withQuirk(quirks: Etsi004Quirks) {
  const pair = await kmePair({ listen: false, clock: new VirtualClock(), settings: { quirks: { etsi004: quirks } } });
  pair.fill(8192);
  const handlers = { a: pair.a.etsi004Handler('siteA'), b: pair.b.etsi004Handler('siteB') };
  const call = (side: 'a' | 'b', request: Etsi004Request) => handlers[side](request, 'etsi', never);
  const open = (side: 'a' | 'b', ksid: Uint8Array, keyChunkSizeBytes = 32) =>
    call(side, {
      service: 'open-connect',
      source: 'siteA',
      destination: 'siteB',
      qos: {
        keyChunkSizeBytes,
        maxBps: 0,
        minBps: 0,
        jitterBps: 0,
        priority: 0,
        timeoutMs: 0,
        ttlSeconds: 60,
        metadataMimetype: 'application/json',
      },
      ksid,
    }) as Promise<Etsi004OpenConnectResponse>;
  const getKey = (side: 'a' | 'b', ksid: Uint8Array, index: number) =>
    call(side, { service: 'get-key', ksid, index, metadataSize: 256 }) as Promise<Etsi004GetKeyResponse>;
  const connect = async () => {
    const ksid = (await open('a', new Uint8Array(16))).stream?.ksid ?? new Uint8Array(16);
    await open('b', ksid);
    return ksid;
  };
  return { open, getKey, connect };
}

describe('qkd-sim: 004 quirks, one by one', () => {
  it('metadata with a trailing NUL', async () => {
    const { getKey, connect } = await withQuirk({ metadataTrailingNul: true });
    const { metadata } = (await getKey('a', await connect(), 0)).delivery ?? { metadata: new Uint8Array() };
    expect(Buffer.from(metadata).toString()).to.match(/^\{.*\}\0$/);
  });

  it('an age that counts from 1970', async () => {
    const { getKey, connect } = await withQuirk({ ageInEpochMs: true });
    const { metadata } = (await getKey('a', await connect(), 0)).delivery ?? { metadata: new Uint8Array() };
    expect(JSON.parse(Buffer.from(metadata).toString()).age).to.be.greaterThan(2 ** 32);
  });

  it('status 7 that allocates the stream all the same', async () => {
    const { open, getKey } = await withQuirk({ allocatesOnQosNotMet: true });
    const opened = await open('a', new Uint8Array(16), 1_000_000);
    const ksid = opened.stream?.ksid ?? new Uint8Array(16);
    expect(opened.status).to.equal(7);
    expect(hexOf(ksid)).to.not.match(/^0*$/);
    expect((await open('b', ksid)).status).to.equal(0);
    expect((await getKey('a', ksid, 0)).delivery?.key.length).to.equal(opened.stream?.qos.keyChunkSizeBytes);
  });

  it('the same KSID for a second NULL open', async () => {
    const { open } = await withQuirk({ reusesKsid: true });
    const ksids = [await open('a', new Uint8Array(16)), await open('a', new Uint8Array(16))].map((opened) =>
      hexOf(opened.stream?.ksid ?? new Uint8Array()),
    );
    expect(ksids[0]).to.equal(ksids[1]);
  });

  it('the next index, whatever was asked for', async () => {
    const { getKey, connect } = await withQuirk({ servesNextIndex: true });
    const ksid = await connect();
    const atA = [await getKey('a', ksid, 7), await getKey('a', ksid, 7)].map(({ delivery }) => delivery);
    expect(atA.map((delivery) => delivery?.index)).to.deep.equal([0, 1]);
    const atB = (await getKey('b', ksid, 5)).delivery;
    expect(hexOf(atB?.key ?? new Uint8Array())).to.equal(hexOf(atA[0]?.key ?? new Uint8Array()));
  });
});
