import { expect } from 'chai';
import type { Etsi004OpenConnectResponse, Etsi004Request } from '../../../kdi-client/wire/index.ts';
import { disagreeing, type Etsi004Fault, etsi004Faults } from '../../../qkd-sim/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { settle, VirtualClock } from '../virtual-clock.ts';
import { type KmePair, kmePair } from './kme-fixture.ts';

const never = new AbortController().signal;

function call(pair: KmePair, side: 'a' | 'b', request: Etsi004Request) {
  return pair[side].etsi004Handler(side === 'a' ? 'siteA' : 'siteB')(request, 'etsi', never);
}

async function connect(pair: KmePair): Promise<Uint8Array> {
  const open: Etsi004Request = {
    service: 'open-connect',
    source: 'siteA',
    destination: 'siteB',
    qos: {
      keyChunkSizeBytes: 32,
      maxBps: 0,
      minBps: 0,
      jitterBps: 0,
      priority: 0,
      timeoutMs: 0,
      ttlSeconds: 60,
      metadataMimetype: '',
    },
    ksid: new Uint8Array(16),
  };
  const { stream } = (await call(pair, 'a', open)) as Etsi004OpenConnectResponse;
  if (stream === undefined) throw new Error('not opened');
  await call(pair, 'b', { ...open, ksid: stream.ksid });
  return stream.ksid;
}

async function keyAt(pair: KmePair, side: 'a' | 'b', ksid: Uint8Array, index: number): Promise<string> {
  const response = await call(pair, side, { service: 'get-key', ksid, index, metadataSize: 0 });
  return response.service === 'get-key' && response.delivery ? hexOf(response.delivery.key) : `${response.status}`;
}

describe('qkd-sim: faults on demand', () => {
  it('two key managers that hand out different bits under one index', async () => {
    const pair = await kmePair({
      listen: false,
      clock: new VirtualClock(),
      wrapPeer: (peer, ownKmeId) => (ownKmeId === 'kme-b' ? disagreeing(peer) : peer),
    });
    pair.fill(1024);
    const ksid = await connect(pair);
    for (const index of [0, 1]) {
      const [a, b] = [await keyAt(pair, 'a', ksid, index), await keyAt(pair, 'b', ksid, index)];
      expect([a.length, b.length]).to.deep.equal([64, 64]);
      expect(a).to.not.equal(b);
      expect(a.slice(2)).to.equal(b.slice(2));
    }
  });

  it('calls that are refused, hang, or bring a key with a flipped bit, one by one', async () => {
    const faults: (Etsi004Fault | undefined)[] = [];
    const pair = await kmePair({
      listen: false,
      clock: new VirtualClock(),
      etsi004Layer: etsi004Faults(() => faults.shift()),
    });
    pair.fill(1024);
    const ksid = await connect(pair);
    faults.push({ type: 'status', status: 4 });
    expect(await keyAt(pair, 'a', ksid, 0)).to.equal('4');
    faults.push({ type: 'hang' });
    let answered = false;
    void keyAt(pair, 'a', ksid, 0).then(() => {
      answered = true;
    });
    await settle();
    expect(answered).to.equal(false);
    faults.push({ type: 'corrupt-key' });
    const [a, b] = [await keyAt(pair, 'a', ksid, 0), await keyAt(pair, 'b', ksid, 0)];
    expect(a).to.not.equal(b);
    expect(await keyAt(pair, 'a', ksid, 1)).to.equal(await keyAt(pair, 'b', ksid, 1));
  });
});
