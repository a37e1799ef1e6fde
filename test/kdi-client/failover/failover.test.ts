import { expect } from 'chai';
import {
  CircuitBreaker,
  type KdiErrorCode as Code,
  createKeySource,
  type DeliveredKey,
  type DrawStream,
  FailoverSource,
  type FailoverSourceOptions,
  KdiError,
  KdiErrorCode,
  KdiMisuseError,
  type KeySource,
  type LookupStream,
} from '../../../kdi-client/index.ts';
import { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { FakeSource } from '../support/fake-source.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const REFERENCE = { api: 'etsi014', drawer: 'siteA', keyId: new Uint8Array(16) } as const;

/** A KME without streams whose next answers are set by the test. */
class ScriptedSource implements KeySource {
  readonly api = 'etsi014';
  readonly needsStream = false;
  readonly kme: string;
  openError: Code | undefined;
  drawError: Code | undefined;
  lookupError: Code | undefined;
  opens = 0;
  lookups = 0;
  lookupsOpened = 0;
  closed = 0;
  oneBatchAtATime = false;

  constructor(kme: string) {
    this.kme = kme;
  }

  async openDraw(): Promise<DrawStream> {
    this.opens++;
    this.#fail(this.openError);
    return {
      ended: false,
      draw: async () => {
        this.#fail(this.drawError);
        return [this.#key()];
      },
      close: async () => {},
    };
  }

  async openLookup(): Promise<LookupStream> {
    this.lookupsOpened++;
    return {
      lookup: async () => {
        this.lookups++;
        this.#fail(this.lookupError);
        return this.#key();
      },
      close: async () => {},
    };
  }

  async status(): Promise<object> {
    this.#fail(this.openError);
    return { sourceKmeId: this.kme };
  }

  async close(): Promise<void> {
    this.closed++;
  }

  #key(): DeliveredKey {
    return { reference: REFERENCE, secret: new SecretBytes(new Uint8Array(32)), metadata: { kme: this.kme } };
  }

  #fail(code: Code | undefined): void {
    if (code !== undefined) throw new KdiError(code, `scripted ${code}`);
  }
}

async function codeOf(promise: Promise<unknown>): Promise<Code | undefined> {
  return promise.then(
    () => undefined,
    (error: KdiError) => error.code,
  );
}

describe('kdi-client/failover/circuit-breaker', () => {
  it('opens after three failures in a row, tries one request after a rest, and rests longer each time', () => {
    const clock = new VirtualClock();
    const breaker = new CircuitBreaker({ clock, random: () => 0.999_999 });
    const failure = new KdiError(KdiErrorCode.connect, 'refused');
    for (let i = 0; i < 2; i++) breaker.record(failure);
    breaker.record();
    for (let i = 0; i < 2; i++) breaker.record(failure);
    expect(breaker.state).to.equal('closed');
    breaker.record(failure);
    expect(breaker.state).to.equal('open');
    expect(breaker.admit()).to.equal(false);
  });

  it('lets one trial through at a time; its success closes, its failure doubles the rest', async () => {
    const clock = new VirtualClock();
    const breaker = new CircuitBreaker({ clock, random: () => 1, failureThreshold: 1 });
    const failure = new KdiError(KdiErrorCode.timeout, 'hung');
    breaker.record(failure);
    await clock.advance(1_000);
    expect(breaker.state).to.equal('half-open');
    expect([breaker.admit(), breaker.admit()]).to.deep.equal([true, false]);
    breaker.record(failure);
    await clock.advance(1_999);
    expect(breaker.state).to.equal('open');
    await clock.advance(1);
    expect(breaker.admit()).to.equal(true);
    breaker.record();
    expect(breaker.state).to.equal('closed');
    breaker.record(failure);
    await clock.advance(1_000);
    expect(breaker.state, 'the rests begin with the first again').to.equal('half-open');
  });

  it('lets any number of requests through at once while it is closed', () => {
    const breaker = new CircuitBreaker({ clock: new VirtualClock(), random: () => 1 });
    expect([breaker.admit(), breaker.admit(), breaker.admit()]).to.deep.equal([true, true, true]);
  });

  it('many requests that fail together, as do the keys of a batch, are one reason to rest', async () => {
    const clock = new VirtualClock();
    const breaker = new CircuitBreaker({ clock, random: () => 1 });
    for (let i = 0; i < 64; i++) breaker.record(new KdiError(KdiErrorCode.closed, 'lost'));
    await clock.advance(999);
    expect(breaker.state).to.equal('open');
    await clock.advance(1);
    expect(breaker.state).to.equal('half-open');
  });

  it('does not take an empty store, a missing peer, our own abort or our own ledger for a sick KME', () => {
    const breaker = new CircuitBreaker({ clock: new VirtualClock(), random: () => 1, failureThreshold: 1 });
    for (const code of [
      KdiErrorCode.insufficientKey,
      KdiErrorCode.peerNotConnected,
      KdiErrorCode.keyNotFound,
      KdiErrorCode.aborted,
      KdiErrorCode.ledger,
    ]) {
      breaker.record(new KdiError(code, code));
      expect(breaker.state, code).to.equal('closed');
    }
  });
});

describe('kdi-client/failover/failover-source', () => {
  let clock: VirtualClock;
  let a: ScriptedSource;
  let b: ScriptedSource;
  let events: string[];
  const failover = (options: Partial<FailoverSourceOptions> = {}): FailoverSource =>
    new FailoverSource({
      members: [{ source: a }, { source: b }],
      clock,
      random: () => 0.5,
      onEvent: (event) =>
        events.push(
          event.type === 'kme-failed'
            ? `${event.kme} ${event.error.code} ${event.state}`
            : `${event.type} ${event.kme}`,
        ),
      ...options,
    });
  beforeEach(() => {
    clock = new VirtualClock();
    a = new ScriptedSource('a:1');
    b = new ScriptedSource('b:1');
    events = [];
  });

  it('at the start: goes to the first that works', async () => {
    const source = failover();
    a.openError = KdiErrorCode.connect;
    const stream = await source.openDraw('siteB');
    const [key] = await stream.draw(1);
    expect(key!.metadata.kme).to.equal('b:1');
    expect(source.kme).to.equal('b:1');
    expect(events).to.deep.equal(['a:1 ERR_KDI_CONNECT closed', 'kme-chosen b:1']);
    expect((await source.status('siteB')).sourceKmeId).to.equal('b:1');
  });

  it('in mid-stream: the stream ends after three failures, and the next one is elsewhere', async () => {
    const source = failover();
    const stream = await source.openDraw('siteB');
    a.drawError = KdiErrorCode.timeout;
    for (let i = 0; i < 3; i++) {
      expect(stream.ended).to.equal(false);
      expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.timeout);
    }
    expect(stream.ended).to.equal(true);
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.circuitOpen);
    const opens = a.opens;
    expect((await (await source.openDraw('siteB')).draw(1))[0]!.metadata.kme).to.equal('b:1');
    expect(a.opens, 'the sick one is rested').to.equal(opens);
    expect(source.health()).to.deep.equal([
      { kme: 'a:1', state: 'open', failuresInARow: 3, blamed: false },
      { kme: 'b:1', state: 'closed', failuresInARow: 0, blamed: false },
    ]);
  });

  it('back again: a stream at a stand-in ends after a while, and the first is tried with a real request', async () => {
    const source = failover({ failBackAfterMs: 30_000 });
    a.openError = KdiErrorCode.connect;
    const stream = await source.openDraw('siteB');
    await clock.advance(29_999);
    expect(stream.ended).to.equal(false);
    await clock.advance(1);
    expect(stream.ended).to.equal(true);
    a.openError = undefined;
    expect((await (await source.openDraw('siteB')).draw(1))[0]!.metadata.kme).to.equal('a:1');
  });

  it('a stand-in goes on while the first is rested, or blamed: a fresh stream would be at the stand-in again', async () => {
    const source = failover({ failBackAfterMs: 500 });
    const stream = await source.openDraw('siteB');
    a.openError = KdiErrorCode.connect;
    for (let i = 0; i < 3; i++) await source.openDraw('siteB');
    const standIn = await source.openDraw('siteB');
    stream.blame?.();
    await clock.advance(500);
    expect([source.health()[0]!.state, source.health()[0]!.blamed]).to.deep.equal(['open', false]);
    expect(standIn.ended, 'rested').to.equal(false);
    stream.blame?.();
    await clock.advance(499);
    expect([source.health()[0]!.state, source.health()[0]!.blamed]).to.deep.equal(['half-open', true]);
    expect(standIn.ended, 'blamed').to.equal(false);
    await clock.advance(1);
    expect(standIn.ended).to.equal(true);
  });

  it('a stream at the first one, or by weight, does not end by itself', async () => {
    const first = await failover().openDraw('siteB');
    const second = await failover({ choose: 'weighted', random: () => 0.9 }).openDraw('siteB');
    expect([first.kme, second.kme]).to.deep.equal(['a:1', 'b:1']);
    await clock.advance(3_600_000);
    expect([first.ended, second.ended]).to.deep.equal([false, false]);
  });

  it('a stream that is closed is closed at its KME, which hears of it no other way', async () => {
    const kme = new FakeSource(clock);
    const stream = await failover({ members: [{ source: kme }] }).openDraw('siteB');
    expect(stream.announcement?.ksid, 'and is announced as that KME has it').to.deep.equal(new Uint8Array(16).fill(1));
    await stream.close();
    expect(kme.streamsOpen).to.equal(0);
  });

  it('given up: no other KME is asked, and none is said to have failed', async () => {
    a.openError = KdiErrorCode.aborted;
    expect(await codeOf(failover().openDraw('siteB'))).to.equal(KdiErrorCode.aborted);
    expect(b.opens).to.equal(0);
    expect(events).to.deep.equal([]);
  });

  it('a KME without keys, or a peer, for the moment has not failed; another one is asked all the same', async () => {
    a.openError = KdiErrorCode.insufficientKey;
    expect((await failover().openDraw('siteB')).kme).to.equal('b:1');
    expect(events).to.deep.equal(['kme-chosen b:1']);
  });

  it('all of them without: a fault says more than an empty store, and that more than a rest', async () => {
    const source = failover();
    [a.openError, b.openError] = [KdiErrorCode.connect, KdiErrorCode.insufficientKey];
    for (let i = 0; i < 3; i++) expect(await codeOf(source.openDraw('siteB'))).to.equal(KdiErrorCode.connect);
    expect(await codeOf(source.openDraw('siteB'))).to.equal(KdiErrorCode.insufficientKey);
    const other = failover({ members: [{ source: b }, { source: a }] });
    for (let i = 0; i < 3; i++) expect(await codeOf(other.openDraw('siteB'))).to.equal(KdiErrorCode.connect);
    expect(await codeOf(other.openDraw('siteB'))).to.equal(KdiErrorCode.insufficientKey);
  });

  it('all of them down: the last error, then ERR_KDI_CIRCUIT_OPEN without asking', async () => {
    const source = failover();
    a.openError = KdiErrorCode.connect;
    b.openError = KdiErrorCode.tls;
    for (let i = 0; i < 3; i++) expect(await codeOf(source.openDraw('siteB'))).to.equal(KdiErrorCode.tls);
    expect(await codeOf(source.openDraw('siteB'))).to.equal(KdiErrorCode.circuitOpen);
    expect([a.opens, b.opens]).to.deep.equal([3, 3]);
  });

  it('weighted: by chance, and around the sick', async () => {
    let chance = 0;
    const source = failover({
      choose: 'weighted',
      members: [
        { source: a, weight: 3 },
        { source: b, weight: 1 },
      ],
      random: () => chance,
    });
    await source.openDraw('siteB');
    chance = 0.8;
    await source.openDraw('siteB');
    expect([a.opens, b.opens]).to.deep.equal([1, 1]);
    chance = 0.75;
    b.openError = KdiErrorCode.connect;
    await source.openDraw('siteB');
    expect([a.opens, b.opens]).to.deep.equal([2, 2]);
  });

  it('look-ups go to the KME that knows the key, and first to the one that knew the last', async () => {
    const source = failover();
    const stream = await source.openLookup('siteA');
    expect(a.lookupsOpened, 'nothing is asked before the first key').to.equal(0);
    a.lookupError = KdiErrorCode.keyNotFound;
    expect((await stream.lookup(REFERENCE)).metadata.kme).to.equal('b:1');
    expect((await stream.lookup(REFERENCE)).metadata.kme).to.equal('b:1');
    expect([a.lookups, b.lookups]).to.deep.equal([1, 2]);
    expect(source.kme).to.equal('b:1');
    expect(events, 'once').to.deep.equal(['kme-chosen b:1']);
    b.lookupError = KdiErrorCode.connect;
    expect(await codeOf(stream.lookup(REFERENCE)), 'the one that is down may have it').to.equal(KdiErrorCode.connect);
  });

  it('a KME whose keys the peer can not use is avoided for a while, unless there is no other', async () => {
    const source = failover({ failBackAfterMs: 30_000 });
    const stream = await source.openDraw('siteB');
    expect([stream.kme, stream.ended]).to.deep.equal(['a:1', false]);
    stream.blame?.();
    expect(stream.ended).to.equal(true);
    const standIn = await source.openDraw('siteB');
    expect(standIn.kme).to.equal('b:1');
    b.openError = KdiErrorCode.connect;
    expect((await source.openDraw('siteB')).kme, 'better than none').to.equal('a:1');
    b.openError = undefined;
    await clock.advance(30_000);
    expect(standIn.ended, 'back to the first').to.equal(true);
    expect((await source.openDraw('siteB')).kme).to.equal('a:1');
  });

  it('says when a rested KME works again', async () => {
    const source = failover();
    a.openError = KdiErrorCode.connect;
    for (let i = 0; i < 3; i++) await source.openDraw('siteB');
    a.openError = undefined;
    await clock.advance(2_000);
    await source.openDraw('siteB');
    expect(events.slice(-2)).to.deep.equal(['kme-restored a:1', 'kme-chosen a:1']);
  });

  it('draws one batch at a time where one of them would forget the batch before', () => {
    expect(failover().oneBatchAtATime).to.equal(false);
    b.oneBatchAtATime = true;
    expect(failover().oneBatchAtATime).to.equal(true);
  });

  it('needs a KME', () => {
    expect(() => failover({ members: [] })).to.throw(KdiMisuseError);
  });

  it('closes them all; mixes no APIs', async () => {
    await failover().close();
    expect([a.closed, b.closed]).to.deep.equal([1, 1]);
    const other = createKeySource({ url: 'etsi004://127.0.0.1:1', saeId: 'siteA', unsafePlainTcp: true });
    expect(() => failover({ members: [{ source: a }, { source: other }] })).to.throw(KdiError, /same API/);
    await other.close();
  });
});

describe('kdi-client/create-key-source', () => {
  const psk = { psk: { identity: 'x', key: new Uint8Array(32) } };
  const cert = { cert: '', key: '', ca: '' };

  it('makes the client that the URL names', async () => {
    const kinds = [
      createKeySource({ url: 'etsi004://kme', saeId: 'siteA', tls: cert, etsi004: { ksid: 'chosen' } }),
      createKeySource({
        url: 'etsi014://kme',
        saeId: 'siteA',
        tls: cert,
        etsi014: { quirks: { oneBatchAtATime: true } },
      }),
      createKeySource({ url: 'skip://kme', saeId: 'siteA', tls: psk }),
    ];
    expect(kinds.map(({ api }) => api)).to.deep.equal(['etsi004', 'etsi014', 'skip']);
    expect(kinds[1]!.oneBatchAtATime).to.equal(true);
    await Promise.all(kinds.map((source) => source.close()));
  });

  it('refuses what can not work', () => {
    for (const url of ['etsi004://kme', 'etsi014://kme']) {
      expect(() => createKeySource({ url, saeId: 'siteA', tls: psk })).to.throw(KdiError, /skip:\/\/ only/);
    }
    for (const url of ['etsi004://kme', 'etsi014://kme', 'skip://kme']) {
      expect(() => createKeySource({ url, saeId: 'siteA' })).to.throw(KdiError, /certificate/);
    }
  });
});
