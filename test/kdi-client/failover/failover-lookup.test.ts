import { expect } from 'chai';
import {
  type KdiErrorCode as Code,
  FailoverSource,
  KdiError,
  KdiErrorCode,
  type LookupStream,
  type OpenLookupOptions,
  type QkdKeyReference,
} from '../../../kdi-client/index.ts';
import { FakeSource } from '../support/fake-source.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const KSID = new Uint8Array(16).fill(1);
const reference = (index: number): QkdKeyReference => ({
  api: 'etsi004',
  drawer: 'siteA',
  ksid: KSID,
  index,
  slice: 0,
});

/** The answerer's KME of one link: it knows the streams of that link only. */
class LinkKme extends FakeSource {
  /** Whether the drawer has opened the stream at the other end of this link. */
  drawerIsHere = false;
  /** Says of itself on OPEN_CONNECT whether the drawer is there. */
  tells = true;
  readonly closed: string[] = [];

  override async openLookup(drawer: string, options: OpenLookupOptions = {}): Promise<LookupStream> {
    const stream = await super.openLookup(drawer, options);
    return {
      ...(this.tells ? { peerConnected: this.drawerIsHere } : {}),
      lookup: (key, callOptions) => {
        if (this.drawerIsHere || this.lookupError !== undefined) return stream.lookup(key, callOptions);
        return Promise.reject(new KdiError(KdiErrorCode.peerNotConnected, 'the drawer is not here'));
      },
      close: async () => {
        this.closed.push('stream');
        await stream.close();
      },
    };
  }
}

describe('kdi-client/failover/failover-lookup: a 004 stream', () => {
  let a: LinkKme;
  let b: LinkKme;
  let source: FailoverSource;
  const announcement = {
    ksid: KSID,
    qos: {
      keyChunkSizeBytes: 32,
      maxBps: 0,
      minBps: 0,
      jitterBps: 0,
      priority: 0,
      timeoutMs: 100,
      ttlSeconds: 0,
      metadataMimetype: '',
    },
  };
  const codeOf = (promise: Promise<unknown>): Promise<Code | undefined> =>
    promise.then(
      () => undefined,
      (error: KdiError) => error.code,
    );
  const take = async (stream: LookupStream, index: number) => {
    const key = await stream.lookup(reference(index));
    key.secret.wipe();
    return key.reference;
  };

  beforeEach(() => {
    const clock = new VirtualClock();
    [a, b] = [new LinkKme(clock), new LinkKme(clock)];
    source = new FailoverSource({ members: [{ source: a }, { source: b }], clock, random: () => 0.5 });
  });
  afterEach(() => {
    expect([a.streamsOpen, b.streamsOpen], 'streams left open').to.deep.equal([0, 0]);
  });

  it('is opened at the KME that knows of the drawer', async () => {
    b.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement });
    await take(stream, 0);
    expect([a.lookups, b.lookups]).to.deep.equal([0, 1]);
    await stream.close();
  });

  it('is found by its first key where no KME says whose it is', async () => {
    [a.tells, b.tells] = [false, false];
    b.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement });
    expect([a.streamsOpen, b.streamsOpen], 'one will do at first').to.deep.equal([1, 0]);
    await take(stream, 0);
    await take(stream, 1);
    expect(b.lookups).to.equal(2);
    expect(a.closed, 'closed, it could not be opened again').to.deep.equal([]);
    await stream.close();
  });

  it('at a KME that is not there is opened at the other', async () => {
    a.openError = KdiErrorCode.connect;
    b.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement });
    await take(stream, 0);
    await stream.close();
  });

  it('nowhere: the error of a KME, and nothing is left open', async () => {
    a.openError = KdiErrorCode.connect;
    b.openError = KdiErrorCode.tls;
    expect(await codeOf(source.openLookup('siteA', { announcement }))).to.equal(KdiErrorCode.tls);
  });

  it('whose KME was lost: the fault is said, since that KME may have the key, and not that the other has none', async () => {
    a.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement });
    await take(stream, 0);
    a.lookupError = KdiErrorCode.closed;
    expect(await codeOf(stream.lookup(reference(1)))).to.equal(KdiErrorCode.closed);
    a.lookupError = undefined;
    await take(stream, 1);
    await stream.close();
  });
});

describe('kdi-client/failover/failover-lookup: keys by ID', () => {
  class IdKme extends FakeSource {
    override readonly api = 'skip';
    override readonly needsStream = false;
  }
  const key = { api: 'skip', drawer: 'siteA', keyId: new Uint8Array(16).fill(1) } as const;
  let a: IdKme;
  let b: IdKme;
  let stream: LookupStream;
  beforeEach(async () => {
    const clock = new VirtualClock();
    [a, b] = [new IdKme(clock), new IdKme(clock)];
    const source = new FailoverSource({ members: [{ source: a }, { source: b }], clock, random: () => 0.5 });
    stream = await source.openLookup('siteA');
  });
  afterEach(async () => {
    await stream.close();
    expect([a.streamsOpen, b.streamsOpen], 'streams left open').to.deep.equal([0, 0]);
  });

  it('one that has none available, as SKIP says by 503, hides no other one that has the key', async () => {
    a.lookupError = KdiErrorCode.insufficientKey;
    const { secret } = await stream.lookup(key);
    secret.wipe();
    expect([a.lookups, b.lookups]).to.deep.equal([1, 1]);
  });

  it('one that has none available says more than one that does not know the key, whoever was asked first', async () => {
    for (const [first, second] of [
      [KdiErrorCode.insufficientKey, KdiErrorCode.keyNotFound],
      [KdiErrorCode.keyNotFound, KdiErrorCode.insufficientKey],
    ] as const) {
      [a.lookupError, b.lookupError] = [first, second];
      const code = await stream.lookup(key).then(
        () => undefined,
        (error: KdiError) => error.code,
      );
      expect(code, `${first}, ${second}`).to.equal(KdiErrorCode.insufficientKey);
    }
  });
});
