import { expect } from 'chai';
import {
  type Answerer,
  type AnswererOptions,
  AnswererStore,
  type AnswererStoreOptions,
  KdiError,
  KdiErrorCode,
  type QkdKeyReference,
} from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { FakeSource, keyOf } from '../support/fake-source.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';
import { AnswererBench, KSID, reference, STREAM } from './answerer-bench.ts';

const delivered = (of: QkdKeyReference, expiresAtMs?: number) => ({
  reference: of,
  secret: keyOf(of),
  metadata: { kme: 'kme-b:1', hops: 0 },
  ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
});

describe('kdi-client/pool/answerer-store', () => {
  let clock: VirtualClock;
  let stores: AnswererStore[] = [];
  const storeOf = (options: Partial<AnswererStoreOptions> = {}): AnswererStore => {
    const store = new AnswererStore({ clock, ...options });
    stores.push(store);
    return store;
  };
  beforeEach(() => {
    clock = new VirtualClock();
  });
  afterEach(() => {
    for (const store of stores) store.close();
    stores = [];
    expect(clock.pending).to.equal(0);
  });

  it('finds without burning, burns once, and never takes the same reference again', () => {
    const store = storeOf();
    const key = delivered(reference(1));
    store.accept(key);
    const found = store.find(reference(1))!;
    expect(hexOf(found.secret.expose())).to.equal(hexOf(keyOf(reference(1)).expose()));
    found.secret.wipe();
    expect(store.find(reference(1)), 'looking costs nothing').to.not.equal(undefined);
    expect(store.burn(reference(1))).to.equal(true);
    expect(store.burn(reference(1)), 'a second use').to.equal(false);
    expect(store.find(reference(1))).to.equal(undefined);
    expect(key.secret.wiped).to.equal(true);
    const again = delivered(reference(1));
    expect(() => store.accept(again))
      .to.throw(KdiError)
      .that.has.property('code', KdiErrorCode.alreadyUsed);
    expect(again.secret.wiped).to.equal(true);
  });

  it('holds each drawer to its quota, and all of them to the whole', () => {
    const store = storeOf({ maxKeysPerDrawer: 2, maxKeys: 3 });
    for (const index of [1, 2]) store.accept(delivered(reference(index)));
    expect(() => store.accept(delivered(reference(3)))).to.throw(KdiError, /quota/);
    store.accept(delivered(reference(1, 'siteC')));
    expect(() => store.accept(delivered(reference(2, 'siteC')))).to.throw(KdiError, /in all/);
    store.drop(reference(1));
    store.accept(delivered(reference(2, 'siteC')));
    expect(store.status()).to.deep.include({ keys: 3, keysByDrawer: { siteA: 1, siteC: 2 } });
  });

  it('forgets a key at its TTL to the millisecond, and wipes it soon after', async () => {
    const store = storeOf();
    const key = delivered(reference(1), clock.now() + 500);
    store.accept(key);
    await clock.advance(499);
    expect(store.find(reference(1))).to.not.equal(undefined);
    await clock.advance(1);
    expect(store.find(reference(1))).to.equal(undefined);
    expect(store.burn(reference(1))).to.equal(false);
    await clock.advance(1_000);
    expect(key.secret.wiped).to.equal(true);
    expect(store.status().totals).to.deep.equal({ accepted: 1, burnt: 0, dropped: 0, expired: 1 });
  });

  it('drops all of a drawer, or of one stream of it, and what it has not seen yet', () => {
    const store = storeOf();
    store.accept(delivered(reference(1)));
    store.accept(delivered({ ...reference(1), ksid: new Uint8Array(16) } as QkdKeyReference));
    store.accept(delivered(reference(1, 'siteC')));
    store.dropAll('siteA', KSID);
    expect(store.status().keys).to.equal(2);
    store.dropAll('siteA');
    expect(store.status().keysByDrawer).to.deep.equal({ siteC: 1 });
    store.drop(reference(7));
    expect(() => store.accept(delivered(reference(7))))
      .to.throw(KdiError)
      .that.has.property('code', KdiErrorCode.alreadyUsed);
  });
});

describe('kdi-client/pool/answerer', () => {
  let clock: VirtualClock;
  let source: FakeSource;
  let store: AnswererStore;
  let answerer: Answerer;
  let heard: string[];
  let bench: AnswererBench;

  function start(options: Partial<AnswererOptions> = {}, storeOptions: Partial<AnswererStoreOptions> = {}): void {
    bench = new AnswererBench({ answerer: options, store: storeOptions });
    ({ clock, source, store, answerer, heard } = bench);
  }
  afterEach(() => bench.close());

  it('opens the announced stream and fetches announced keys ahead', async () => {
    start();
    answerer.announceStream(STREAM);
    await settle();
    answerer.announceKeys([reference(0), reference(1)]);
    await settle();
    expect(heard).to.deep.equal(['opened', 'acked 0', 'acked 1']);
    expect(store.find(reference(1))?.secret.wipe()).to.equal(undefined);
    expect(store.status().keys).to.equal(2);
  });

  it('confirms at once what is announced again after a reconnect, without asking the KME', async () => {
    start();
    answerer.announceStream(STREAM);
    await settle();
    answerer.announceKeys([reference(0)]);
    await settle();
    answerer.announceStream(STREAM);
    answerer.announceKeys([reference(0)]);
    expect(heard).to.deep.equal(['opened', 'acked 0', 'opened', 'acked 0']);
    expect(source.lookups).to.equal(1);
  });

  it('says once that the stream is not open yet, tries on, and says so when it is', async () => {
    start();
    source.openError = KdiErrorCode.connect;
    answerer.announceStream(STREAM);
    await clock.advance(1_000);
    source.openError = undefined;
    await clock.advance(1_000);
    expect(heard).to.deep.equal([`failed ${KdiErrorCode.connect}`, 'opened']);
  });

  it('looks for a key that is not there yet until its deadline, and caches no refusal', async () => {
    start({ fetchDeadlineMs: 10_000 });
    answerer.announceStream(STREAM);
    await settle();
    source.lookupError = KdiErrorCode.keyNotFound;
    answerer.announceKeys([reference(0), reference(1)]);
    await clock.advance(1_000);
    source.lookupError = undefined;
    await clock.advance(1_000);
    expect(heard.slice(1)).to.have.members([
      `pending ${KdiErrorCode.keyNotFound}`,
      `pending ${KdiErrorCode.keyNotFound}`,
      'acked 0',
      'acked 1',
    ]);
    source.lookupError = KdiErrorCode.keyNotFound;
    answerer.announceKeys([reference(2)]);
    await clock.advance(10_001);
    expect(heard.slice(-2)).to.deep.equal([`pending ${KdiErrorCode.keyNotFound}`, `never ${KdiErrorCode.keyNotFound}`]);
  });

  it('tells how many keys the KME is being asked for, and not those that wait for the next try', async () => {
    start();
    answerer.announceStream(STREAM);
    await settle();
    source.hold();
    answerer.announceKeys([reference(0), reference(1)]);
    await settle();
    expect(answerer.lookUpsUnderWay).to.equal(2);
    source.letGo();
    await settle();
    expect(answerer.lookUpsUnderWay).to.equal(0);
    source.lookupError = KdiErrorCode.keyNotFound;
    answerer.announceKeys([reference(2)]);
    await settle();
    expect(answerer.pending).to.equal(1);
    expect(answerer.lookUpsUnderWay).to.equal(0);
  });

  const { connect, noQkdConnection, peerNotConnected } = KdiErrorCode;
  for (const code of [connect, noQkdConnection, peerNotConnected]) {
    it(`gives a stream up that its KME answers with ${code} six times in a row, with all that waits for it`, async () => {
      start();
      answerer.announceStream(STREAM);
      await settle();
      source.lookupError = code;
      answerer.announceKeys([reference(0)]);
      await settle();
      await clock.advance(1_000);
      answerer.announceKeys([reference(1)]);
      await settle();
      await clock.advance(4_000);
      expect(heard.filter((said) => !said.startsWith('unfit'))).to.deep.equal([
        'opened',
        `pending ${code}`,
        `pending ${code}`,
        `lost ${code}`,
        `never ${code}`,
        `never ${code}`,
      ]);
      expect(source.streamsOpen).to.equal(0);
      expect(answerer.pending).to.equal(0);
      const { lookups } = source;
      answerer.announceKeys([reference(2)]);
      await settle();
      expect(heard.at(-1), 'announced before the drawer heard of it').to.equal(`never ${KdiErrorCode.stream}`);
      await clock.advance(60_000);
      expect(source.lookups, 'nothing is asked of it any more').to.equal(lookups);
    });
  }

  it('a key whose stream is given up while it is written down is not kept', async () => {
    let written = (): void => {};
    const ledger = {
      spend: (ids: readonly Uint8Array[]) =>
        new Promise<boolean[]>((resolve) => {
          written = () => resolve(ids.map(() => true));
        }),
      close: async () => {},
    };
    start({}, { ledger });
    answerer.announceStream(STREAM);
    await settle();
    answerer.announceKeys([reference(1)]);
    await settle();
    source.lookupError = noQkdConnection;
    answerer.announceKeys([reference(0)]);
    await settle();
    await clock.advance(4_000);
    expect(heard.slice(-2)).to.deep.equal([`never ${noQkdConnection}`, `never ${noQkdConnection}`]);
    written();
    await settle();
    expect(heard.filter((said) => said.startsWith('acked'))).to.deep.equal([]);
    expect(store.status().keys).to.equal(0);
    expect(() => source.handedOut[0]?.expose()).to.throw();
  });

  /** A KME that gives keys by ID. */
  class IdKme extends FakeSource {
    override readonly api = 'etsi014';
    override readonly needsStream = false;
  }
  const idKey = (fill: number): QkdKeyReference => ({
    api: 'etsi014',
    drawer: 'siteA',
    keyId: new Uint8Array(16).fill(fill),
  });

  for (const code of [KdiErrorCode.http, KdiErrorCode.insufficientKey]) {
    it(`calls a KME unfit that answers ${code} to a key ID three times in a row, and says so once`, async () => {
      start();
      await answerer.close();
      store.close();
      const kme = new IdKme(new VirtualClock());
      start({ source: kme });
      kme.lookupError = code;
      answerer.announceKeys([idKey(1)]);
      await settle();
      expect(heard, 'once is none').to.deep.equal([`pending ${code}`]);
      await clock.advance(1_000);
      expect(heard).to.deep.equal([`pending ${code}`, `unfit ${code}`]);
      await clock.advance(40_000);
      expect(heard).to.deep.equal([`pending ${code}`, `unfit ${code}`, `never ${code}`]);
    });
  }

  it('calls no KME unfit for a key that it does not know, nor for a 004 stream that has run dry', async () => {
    start();
    await answerer.close();
    store.close();
    const kme = new IdKme(new VirtualClock());
    start({ source: kme });
    kme.lookupError = KdiErrorCode.keyNotFound;
    answerer.announceKeys([idKey(1)]);
    await clock.advance(20_000);
    expect(heard).to.deep.equal([`pending ${KdiErrorCode.keyNotFound}`]);
    await answerer.close();
    store.close();
    start();
    answerer.announceStream(STREAM);
    await settle();
    source.lookupError = KdiErrorCode.insufficientKey;
    answerer.announceKeys([reference(0)]);
    await clock.advance(20_000);
    expect(heard).to.deep.equal(['opened', `pending ${KdiErrorCode.insufficientKey}`]);
  });

  it('asks for keys of KMEs without streams together, also while the first is being asked for', async () => {
    start();
    const opened: string[] = [];
    const api = { api: 'etsi014' as const, needsStream: false };
    const without = Object.assign(Object.create(source), api, {
      openLookup: async (drawer: string) => {
        opened.push(drawer);
        return source.openLookup(drawer);
      },
    });
    await answerer.close();
    start({ source: without });
    const keys = [1, 2, 3].map(
      (fill) => ({ api: 'etsi014', drawer: 'siteA', keyId: new Uint8Array(16).fill(fill) }) as const,
    );
    answerer.announceKeys(keys);
    await settle();
    expect(heard).to.have.length(3);
    expect(opened).to.deep.equal(['siteA']);
    await answerer.close();
    for (const key of keys) expect(store.find(key)?.secret.wipe()).to.equal(undefined);
    store.close();
  });

  it('drops a key whose check value differs', async () => {
    start();
    bench.agree = false;
    source.seed = 'other';
    answerer.announceStream(STREAM);
    await settle();
    answerer.announceKeys([reference(0)]);
    await settle();
    expect(heard.at(-1)).to.equal('mismatch 0');
    expect(store.find(reference(0))).to.equal(undefined);
  });

  it('asks the KME for nothing that a peer may not announce', async () => {
    start({}, { maxKeysPerDrawer: 2 });
    answerer.announceStream(STREAM);
    await settle();
    heard.length = 0;
    answerer.announceKeys([reference(0, 'siteX'), { api: 'skip', drawer: 'siteA', keyId: new Uint8Array(16) }]);
    expect(heard).to.deep.equal([`never ${KdiErrorCode.badRequest}`, `never ${KdiErrorCode.badRequest}`]);
    heard.length = 0;
    source.hold();
    answerer.announceKeys([0, 1, 2, 3].map((index) => reference(index)));
    expect(heard).to.deep.equal([`never ${KdiErrorCode.quota}`, `never ${KdiErrorCode.quota}`]);
    source.letGo();
    await settle();
    expect(source.lookups).to.equal(2);
    store.burn(reference(0));
    answerer.announceKeys([reference(0)]);
    expect(heard.at(-1)).to.equal(`never ${KdiErrorCode.alreadyUsed}`);
  });

  it('a key that is dropped while it is fetched is wiped when it comes', async () => {
    start();
    answerer.announceStream(STREAM);
    await settle();
    source.hold();
    answerer.announceKeys([reference(0)]);
    answerer.dropKeys([reference(0)]);
    source.letGo();
    await settle();
    expect(heard).to.deep.equal(['opened']);
    expect(store.status().keys).to.equal(0);
    expect(answerer.pending).to.equal(0);
  });

  it('a key that comes to a closed store is wiped, and starts no timer', async () => {
    start();
    store.close();
    const key = delivered(reference(0));
    expect(() => store.accept(key)).to.throw(KdiError, 'closed');
    expect(key.secret.wiped).to.equal(true);
    expect(clock.pending).to.equal(0);
  });

  it('one drawer can not drop another’s keys', async () => {
    start();
    store.accept(delivered(reference(0, 'siteC')));
    answerer.dropKeys([reference(0, 'siteC')]);
    expect(store.status().keys).to.equal(1);
  });

  it('closes a stream when told, and the oldest when there are too many', async () => {
    start({ maxStreams: 2 });
    for (const byte of [1, 2, 3]) answerer.announceStream({ ...STREAM, ksid: new Uint8Array(16).fill(byte) });
    await settle();
    expect(source.streamsOpen).to.equal(2);
    answerer.closeStream(new Uint8Array(16).fill(3));
    await settle();
    expect(source.streamsOpen).to.equal(1);
  });
});
