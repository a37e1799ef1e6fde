import { getEventListeners } from 'node:events';
import { expect } from 'chai';
import {
  type KdiErrorCode as Code,
  FailoverSource,
  KdiError,
  KdiErrorCode,
  type LookupStream,
  type OpenLookupOptions,
  type QkdKeyReference,
  type StreamAnnouncement,
} from '../../../kdi-client/index.ts';
import { FakeSource } from '../support/fake-source.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';

const KSID = new Uint8Array(16).fill(1);
const ANNOUNCEMENT = {
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
const reference = (index: number): QkdKeyReference => ({
  api: 'etsi004',
  drawer: 'siteA',
  ksid: KSID,
  index,
  slice: 0,
});

const codeOf = (promise: Promise<unknown>): Promise<Code | undefined> =>
  promise.then(
    () => undefined,
    (error: KdiError) => error.code,
  );

/** The answerer's KME of one link: it knows the streams of that link only. */
class LinkKme extends FakeSource {
  /** Whether the drawer has opened the stream at the other end of this link. */
  drawerIsHere = false;
  /** Says of itself on OPEN_CONNECT whether the drawer is there. */
  tells = true;
  /** Chunks that it makes whatever was announced. */
  chunkBytes: number | undefined;
  asked = 0;
  readonly announced: (StreamAnnouncement | undefined)[] = [];
  readonly closed: string[] = [];

  override async openLookup(drawer: string, options: OpenLookupOptions = {}): Promise<LookupStream> {
    const { announcement } = options;
    this.announced.push(announcement);
    const stream = await super.openLookup(drawer, options);
    const { chunkBytes: keyChunkSizeBytes = 32 } = this;
    return {
      announcement: { ...ANNOUNCEMENT, qos: { ...ANNOUNCEMENT.qos, keyChunkSizeBytes } },
      ...(this.tells ? { peerConnected: this.drawerIsHere } : {}),
      lookup: (key, callOptions) => {
        this.asked++;
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
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    await take(stream, 0);
    expect([a.asked, b.asked]).to.deep.equal([0, 1]);
    expect(source.kme).to.equal(b.kme);
    await stream.close();
  });

  it('is opened at the first where none knows of the drawer yet, and found at the one where the drawer comes', async () => {
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    expect(source.kme).to.equal(a.kme);
    b.drawerIsHere = true;
    await take(stream, 0);
    expect([a.asked, b.asked]).to.deep.equal([1, 1]);
    await stream.close();
  });

  it('has the chunks that the KME makes at which it was opened, so that the drawer learns of others than its own', async () => {
    b.drawerIsHere = true;
    b.chunkBytes = 64;
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    expect(stream.announcement?.qos.keyChunkSizeBytes).to.equal(64);
    await stream.close();
  });

  it('is found by its first key where no KME says whose it is', async () => {
    [a.tells, b.tells] = [false, false];
    b.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    expect([a.streamsOpen, b.streamsOpen], 'one will do at first').to.deep.equal([1, 0]);
    await take(stream, 0);
    await take(stream, 1);
    expect(b.lookups).to.equal(2);
    expect(a.closed, 'closed, it could not be opened again').to.deep.equal([]);
    expect(b.announced, 'the same stream').to.deep.equal([ANNOUNCEMENT]);
    await stream.close();
  });

  it('at a KME that is not there is opened at the other', async () => {
    a.openError = KdiErrorCode.connect;
    b.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    await take(stream, 0);
    await stream.close();
  });

  it('nowhere: the error of a KME, and nothing is left open', async () => {
    a.openError = KdiErrorCode.connect;
    b.openError = KdiErrorCode.tls;
    expect(await codeOf(source.openLookup('siteA', { announcement: ANNOUNCEMENT }))).to.equal(KdiErrorCode.tls);
    [a.openError, b.openError] = [KdiErrorCode.kmeTimeout, KdiErrorCode.kmeTimeout];
    expect(await codeOf(source.openLookup('siteA', { announcement: ANNOUNCEMENT }))).to.equal(KdiErrorCode.kmeTimeout);
  });

  it('given up while it is opened: the error says so, no other KME is asked, and nothing is left open', async () => {
    const abort = new AbortController();
    a.hold();
    const opening = codeOf(source.openLookup('siteA', { announcement: ANNOUNCEMENT, signal: abort.signal }));
    await settle();
    abort.abort();
    expect(await opening).to.equal(KdiErrorCode.aborted);
    expect(b.announced).to.deep.equal([]);
  });

  it('is opened once at another KME, however many keys are asked for there at once', async () => {
    a.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    [a.drawerIsHere, b.drawerIsHere] = [false, true];
    await Promise.all([0, 1, 2].map((index) => take(stream, index)));
    expect([a.announced.length, b.announced.length]).to.deep.equal([1, 1]);
    await stream.close();
  });

  it('is opened for the next key at a KME where it could not be opened for the last', async () => {
    a.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    [a.drawerIsHere, b.drawerIsHere] = [false, true];
    b.openError = KdiErrorCode.connect;
    expect(await codeOf(stream.lookup(reference(0)))).to.equal(KdiErrorCode.connect);
    b.openError = undefined;
    expect(await take(stream, 0)).to.deep.equal(reference(0));
    await stream.close();
  });

  it('a key that is given up while the stream is opened for it: others that wait for the same get theirs', async () => {
    const abort = new AbortController();
    a.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    [a.drawerIsHere, b.drawerIsHere] = [false, true];
    b.hold();
    const givenUp = codeOf(stream.lookup(reference(0), { signal: abort.signal }));
    const other = take(stream, 1);
    await settle();
    abort.abort();
    expect(await givenUp).to.equal(KdiErrorCode.aborted);
    expect(getEventListeners(abort.signal, 'abort'), 'of one that may live as long as the process').to.have.length(0);
    b.letGo();
    expect(await other).to.deep.equal(reference(1));
    expect(await codeOf(stream.lookup(reference(2), { signal: abort.signal })), 'and one that comes too late').to.equal(
      KdiErrorCode.aborted,
    );
    expect(b.asked).to.equal(1);
    await stream.close();
  });

  it('closed while it is opened at another KME: it is closed there too, and opened nowhere afterwards', async () => {
    a.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
    a.drawerIsHere = false;
    b.hold();
    const lookup = codeOf(stream.lookup(reference(0)));
    await settle();
    const closing = stream.close();
    expect(await lookup).to.equal(KdiErrorCode.aborted);
    await closing;
    b.letGo();
    expect(await codeOf(stream.lookup(reference(1)))).to.equal(KdiErrorCode.aborted);
    expect([a.announced.length, b.announced.length]).to.deep.equal([1, 1]);
  });

  it('whose KME was lost: the fault is said, since that KME may have the key, and not that the other has none', async () => {
    a.drawerIsHere = true;
    const stream = await source.openLookup('siteA', { announcement: ANNOUNCEMENT });
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
  let failed: Code[];
  beforeEach(async () => {
    const clock = new VirtualClock();
    [a, b] = [new IdKme(clock), new IdKme(clock)];
    failed = [];
    const source = new FailoverSource({
      members: [{ source: a }, { source: b }],
      clock,
      random: () => 0.5,
      onEvent: (event) => {
        if (event.type === 'kme-failed') failed.push(event.error.code);
      },
    });
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

  it('none has it: that is what is said', async () => {
    [a.lookupError, b.lookupError] = [KdiErrorCode.keyNotFound, KdiErrorCode.keyNotFound];
    expect(await codeOf(stream.lookup(key))).to.equal(KdiErrorCode.keyNotFound);
    expect([a.lookups, b.lookups]).to.deep.equal([1, 1]);
  });

  it('what no other KME would make better is said at once', async () => {
    for (const code of [KdiErrorCode.quota, KdiErrorCode.stream, KdiErrorCode.config]) {
      a.lookupError = code;
      expect(await codeOf(stream.lookup(key))).to.equal(code);
    }
    expect(b.lookups).to.equal(0);
  });

  it('one that is given up is asked for nowhere else, and is no fault of the KME', async () => {
    const abort = new AbortController();
    (await stream.lookup(key)).secret.wipe();
    a.hold();
    const lookup = codeOf(stream.lookup(key, { signal: abort.signal }));
    await settle();
    abort.abort();
    expect(await lookup).to.equal(KdiErrorCode.aborted);
    expect([a.lookups, b.lookups]).to.deep.equal([2, 0]);
    expect(failed).to.deep.equal([]);
  });

  it('one that is being rested hides behind no other that does not know the key: it may have it', async () => {
    a.lookupError = KdiErrorCode.connect;
    b.lookupError = KdiErrorCode.keyNotFound;
    for (let i = 0; i < 3; i++) expect(await codeOf(stream.lookup(key))).to.equal(KdiErrorCode.connect);
    expect(await codeOf(stream.lookup(key))).to.equal(KdiErrorCode.circuitOpen);
    expect([a.lookups, b.lookups]).to.deep.equal([3, 4]);
    expect(failed).to.deep.equal(Array.from({ length: 3 }, () => KdiErrorCode.connect));
  });

  it('one that has none available says more than one that does not know the key, whoever was asked first', async () => {
    for (const [first, second] of [
      [KdiErrorCode.insufficientKey, KdiErrorCode.keyNotFound],
      [KdiErrorCode.keyNotFound, KdiErrorCode.insufficientKey],
    ] as const) {
      [a.lookupError, b.lookupError] = [first, second];
      expect(await codeOf(stream.lookup(key)), `${first}, ${second}`).to.equal(KdiErrorCode.insufficientKey);
    }
  });
});
