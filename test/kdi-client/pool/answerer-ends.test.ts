/** What the answerer does with what comes late, fails, or is announced when it may not be. */
import { expect } from 'chai';
import {
  type CallOptions,
  KdiError,
  KdiErrorCode,
  type LookupStream,
  MemoryLedger,
  type OpenLookupOptions,
  type QkdKeyReference,
  type SpentLedger,
} from '../../../kdi-client/index.ts';
import { FakeSource } from '../support/fake-source.ts';
import { settle } from '../support/virtual-clock.ts';
import { AnswererBench, type AnswererBenchOptions, KSID, reference, STREAM } from './answerer-bench.ts';

/** A KME that goes on with what was given up. */
class DeafKme extends FakeSource {
  readonly signals: (AbortSignal | undefined)[] = [];

  override async openLookup(drawer: string, { announcement, signal }: OpenLookupOptions = {}): Promise<LookupStream> {
    this.signals.push(signal);
    const stream = await super.openLookup(drawer, announcement === undefined ? {} : { announcement });
    return {
      lookup: (key, options: CallOptions = {}) => {
        this.signals.push(options.signal);
        return stream.lookup(key);
      },
      close: () => stream.close(),
    };
  }
}

/** A KME that gives keys by ID. */
class IdKme extends FakeSource {
  override readonly api = 'etsi014';
  override readonly needsStream = false;
}
const idKey: QkdKeyReference = { api: 'etsi014', drawer: 'siteA', keyId: new Uint8Array(16).fill(1) };

/** Is written when the test says so. */
class HeldLedger implements SpentLedger {
  written = (): void => {};
  async spend(ids: readonly Uint8Array[]): Promise<readonly boolean[]> {
    await new Promise<void>((resolve) => {
      this.written = resolve;
    });
    return ids.map(() => true);
  }
  async close(): Promise<void> {}
}

describe('kdi-client/pool/answerer: what comes late, fails, or may not be', () => {
  let bench: AnswererBench;
  async function start(options: AnswererBenchOptions = {}): Promise<AnswererBench> {
    bench = new AnswererBench(options);
    bench.answerer.announceStream(STREAM);
    await settle();
    bench.heard.length = 0;
    return bench;
  }
  afterEach(() => bench.close());

  describe('once it is closed', () => {
    it('asks its KME for nothing, and says nothing', async () => {
      const { answerer, source, heard } = new AnswererBench();
      bench = new AnswererBench({ source: (clock) => new IdKme(clock) });
      await Promise.all([answerer.close(), bench.answerer.close()]);
      answerer.announceStream(STREAM);
      answerer.announceKeys([reference(0)]);
      bench.answerer.announceKeys([idKey]);
      await settle();
      expect([source.streamsOpen, source.lookups, bench.source.lookups]).to.deep.equal([0, 0, 0]);
      expect([heard, bench.heard, answerer.pending, bench.answerer.pending]).to.deep.equal([[], [], 0, 0]);
    });

    it('a key that comes all the same is wiped, and not written down', async () => {
      const ledger = new MemoryLedger({ nowMs: () => 0 });
      const { answerer, source, store, heard } = await start({
        source: (clock) => new DeafKme(clock),
        store: { ledger },
      });
      source.hold();
      answerer.announceKeys([reference(0)]);
      await settle();
      await answerer.close();
      expect((source as DeafKme).signals.map((signal) => signal?.aborted)).to.deep.equal([true, true]);
      source.letGo();
      await settle();
      expect(source.handedOut.map(({ wiped }) => wiped)).to.deep.equal([true]);
      expect([store.status().keys, ledger.size]).to.deep.equal([0, 0]);
      expect(heard).to.deep.equal([]);
    });

    it('a key that is being written down is not kept', async () => {
      const ledger = new HeldLedger();
      const { answerer, store, heard } = await start({ store: { ledger } });
      answerer.announceKeys([reference(0)]);
      await settle();
      await answerer.close();
      ledger.written();
      await settle();
      expect(store.status().keys).to.equal(0);
      expect(heard).to.deep.equal([]);
    });

    it('a stream that is opened all the same is closed', async () => {
      bench = new AnswererBench({ source: (clock) => new DeafKme(clock) });
      const { answerer, source, heard } = bench;
      source.hold();
      answerer.announceStream(STREAM);
      await settle();
      await answerer.close();
      expect((source as DeafKme).signals.map((signal) => signal?.aborted)).to.deep.equal([true]);
      source.letGo();
      await settle();
      expect(source.streamsOpen).to.equal(0);
      expect(heard).to.deep.equal([]);
    });

    it('look-ups by ID that are being opened are given up', async () => {
      class DeafIdKme extends DeafKme {
        override readonly api = 'etsi014';
        override readonly needsStream = false;
      }
      bench = new AnswererBench({ source: (clock) => new DeafIdKme(clock) });
      const { answerer, source, heard } = bench;
      source.hold();
      answerer.announceKeys([idKey]);
      await settle();
      const closed = answerer.close();
      expect((source as DeafIdKme).signals.map((signal) => signal?.aborted)).to.deep.equal([true]);
      source.letGo();
      await closed;
      expect(source.streamsOpen).to.equal(0);
      expect(heard).to.deep.equal([]);
    });

    it('one that could not be opened is not tried again', async () => {
      bench = new AnswererBench();
      const { answerer, source, clock, heard } = bench;
      source.openError = KdiErrorCode.connect;
      answerer.announceStream(STREAM);
      await settle();
      await answerer.close();
      expect(clock.pending).to.equal(0);
      expect(heard).to.deep.equal([`failed ${KdiErrorCode.connect}`]);
    });
  });

  it('a stream that ends while it is opened is closed when it comes, and not tried again when it fails', async () => {
    bench = new AnswererBench();
    const { answerer, source, clock, heard } = bench;
    for (const error of [undefined, KdiErrorCode.connect]) {
      source.hold();
      source.openError = error;
      answerer.announceStream(STREAM);
      answerer.closeStream(KSID);
      source.letGo();
      await settle();
      expect([source.streamsOpen, clock.pending], error).to.deep.equal([0, 0]);
    }
    expect(heard).to.deep.equal([]);
  });

  it('a stream that is announced again before it is open is confirmed once, when it is', async () => {
    bench = new AnswererBench();
    const { answerer, source, heard } = bench;
    source.hold();
    answerer.announceStream(STREAM);
    answerer.announceStream(STREAM);
    expect(heard).to.deep.equal([]);
    source.letGo();
    await settle();
    expect(heard).to.deep.equal(['opened']);
  });

  it('a KME without streams is not asked to open one', async () => {
    const { source } = await start({ source: (clock) => new IdKme(clock) });
    expect(source.streamsOpen).to.equal(0);
  });

  it('a key that is dropped while it is looked for is not looked for again when that fails', async () => {
    const { answerer, source, clock, heard } = await start();
    source.hold();
    source.lookupError = KdiErrorCode.keyNotFound;
    answerer.announceKeys([reference(0)]);
    await settle();
    answerer.dropKeys([reference(0)]);
    source.letGo();
    await settle();
    expect(heard).to.deep.equal([]);
    expect(clock.pending).to.equal(0);
  });

  it('a key that is here and dropped is gone, and wiped', async () => {
    const { answerer, source, store } = await start();
    answerer.announceKeys([reference(0)]);
    await settle();
    answerer.dropKeys([reference(0)]);
    expect(store.status().keys).to.equal(0);
    expect(source.handedOut.map(({ wiped }) => wiped)).to.deep.equal([true]);
  });

  it('a key that is announced before its stream is open here is fetched when it is', async () => {
    bench = new AnswererBench();
    const { answerer, source, clock, heard } = bench;
    source.hold();
    answerer.announceStream(STREAM);
    answerer.announceKeys([reference(0)]);
    await settle();
    expect(heard).to.deep.equal([`pending ${KdiErrorCode.stream}`]);
    source.letGo();
    await clock.advance(1_000);
    expect(heard.slice(1)).to.deep.equal(['opened', 'acked 0']);
  });

  it('a stream that is given up takes no keys of another one with it', async () => {
    const { answerer, source, clock, heard } = await start();
    const other = new Uint8Array(16).fill(8);
    answerer.announceStream({ ...STREAM, ksid: other });
    await settle();
    source.lookupError = KdiErrorCode.connect;
    answerer.announceKeys([reference(0)]);
    await clock.advance(2_000);
    answerer.announceKeys([{ api: 'etsi004', drawer: 'siteA', ksid: other, index: 1, slice: 0 }]);
    await clock.advance(1_000);
    const ended = () => heard.filter((said) => /^(?:lost|never)/.test(said));
    expect(ended()).to.deep.equal([`lost ${KdiErrorCode.connect}`, `never ${KdiErrorCode.connect}`]);
    source.lookupError = undefined;
    await clock.advance(5_000);
    expect(heard.at(-1)).to.equal('acked 1');
  });

  it('a key that is dropped while it is written down is not kept, and nothing is said of it', async () => {
    const ledger = new HeldLedger();
    const { answerer, store, heard } = await start({ store: { ledger } });
    answerer.announceKeys([reference(0)]);
    await settle();
    answerer.dropKeys([reference(0)]);
    ledger.written();
    await settle();
    expect(store.status().keys).to.equal(0);
    expect(heard).to.deep.equal([]);
  });

  it('a key that can not be written down is not kept, and the drawer is told', async () => {
    const ledger: SpentLedger = {
      spend: () => Promise.reject(new KdiError(KdiErrorCode.ledger, 'disk full')),
      close: async () => {},
    };
    const { answerer, store, heard } = await start({ store: { ledger } });
    answerer.announceKeys([reference(0)]);
    await settle();
    expect(heard).to.deep.equal([`never ${KdiErrorCode.ledger}`]);
    expect([store.status().keys, answerer.pending]).to.deep.equal([0, 0]);
  });

  it('a key that is here and announced again with another check value is dropped', async () => {
    const { answerer, store, heard } = await start();
    answerer.announceKeys([reference(0)]);
    await settle();
    bench.agree = false;
    answerer.announceKeys([reference(0)]);
    expect(heard).to.deep.equal(['acked 0', 'mismatch 0']);
    expect(store.status().keys).to.equal(0);
  });

  it('keys that are here and keys that are looked for count for the quota together', async () => {
    const { answerer, source, heard } = await start({ store: { maxKeysPerDrawer: 2 } });
    answerer.announceKeys([reference(0)]);
    await settle();
    source.hold();
    answerer.announceKeys([reference(1), reference(2)]);
    expect(heard).to.deep.equal(['acked 0', `never ${KdiErrorCode.quota}`]);
    source.letGo();
    await settle();
    expect(heard.at(-1)).to.equal('acked 1');
  });

  it('what asking again makes no better is said at once', async () => {
    const { answerer, source, clock, heard } = await start();
    source.lookupError = KdiErrorCode.unauthorized;
    answerer.announceKeys([reference(0)]);
    await settle();
    expect(heard).to.deep.equal([`never ${KdiErrorCode.unauthorized}`]);
    expect([clock.pending, answerer.pending]).to.deep.equal([0, 0]);
  });

  it('a key is looked for by its ID until its deadline, however often its KME fails', async () => {
    const { answerer, source, clock, heard } = await start({ source: (clock) => new IdKme(clock) });
    source.lookupError = KdiErrorCode.http;
    answerer.announceKeys([idKey]);
    await clock.advance(25_000);
    const { http } = KdiErrorCode;
    expect(heard).to.deep.equal([`pending ${http}`, `unfit ${http}`]);
    await clock.advance(5_000);
    expect(heard.at(-1)).to.equal(`never ${http}`);
    expect(source.lookups, 'more often than a stream may fail').to.be.greaterThan(6);
  });

  it('where look-ups could not be opened, they are opened for the next try', async () => {
    const { answerer, source, clock, heard } = await start({ source: (clock) => new IdKme(clock) });
    source.openError = KdiErrorCode.connect;
    answerer.announceKeys([idKey]);
    await settle();
    expect(heard).to.deep.equal([`pending ${KdiErrorCode.connect}`]);
    source.openError = undefined;
    await clock.advance(1_000);
    expect(heard.at(-1)).to.match(/^acked/);
  });

  it('a failure that nobody foresaw ends the key, and keeps its cause', async () => {
    const cause = new TypeError('oops');
    class OddKme extends FakeSource {
      override async openLookup(drawer: string, options: OpenLookupOptions = {}): Promise<LookupStream> {
        return { ...(await super.openLookup(drawer, options)), lookup: () => Promise.reject(cause) };
      }
    }
    const { answerer, heard, errors } = await start({ source: (clock) => new OddKme(clock) });
    answerer.announceKeys([reference(0)]);
    await settle();
    expect(heard).to.deep.equal([`never ${KdiErrorCode.internal}`]);
    expect(errors.map((error) => error.cause)).to.deep.equal([cause]);
  });
});
