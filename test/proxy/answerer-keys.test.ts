/** What the answering side makes of its key manager's answers, and tells the peer. */
import { expect } from 'chai';
import { KdiErrorCode, MemoryLedger, type QkdKeyReference } from '../../kdi-client/index.ts';
import type { TlsConnection } from '../../proxy/data-path/index.ts';
import { AnswererKeys } from '../../proxy/key-service/answerer-keys.ts';
import type { AnswererLink, KeyFetcherPort } from '../../proxy/key-service/answerer-link.ts';
import { FakeSource } from '../kdi-client/support/fake-source.ts';
import { settle, VirtualClock } from '../kdi-client/support/virtual-clock.ts';
import { CapturedLog } from './sites.ts';

class IdKme extends FakeSource {
  override readonly api = 'etsi014';
  override readonly needsStream = false;
}

describe('the answering side and its key manager', () => {
  const key = (fill: number): QkdKeyReference => ({
    api: 'etsi014',
    drawer: 'siteA',
    keyId: new Uint8Array(16).fill(fill),
  });
  let clock: VirtualClock;
  let kme: IdKme;
  let keys: AnswererKeys;
  let captured: CapturedLog;
  let fetcher: KeyFetcherPort;
  /** What the peer was told of our key manager. */
  let told: boolean[];

  beforeEach(() => {
    clock = new VirtualClock();
    kme = new IdKme(clock);
    captured = new CapturedLog();
    told = [];
    const link = {
      attachFetcher: (port: KeyFetcherPort) => {
        fetcher = port;
      },
      accept: () => ({ ended: () => {} }),
      tellState: ({ kmeReachable }: { kmeReachable: boolean }) => told.push(kmeReachable),
      keyFetched: () => true,
      keyPending: () => {},
      keyNotFound: () => {},
      stop: () => {},
    };
    keys = new AnswererKeys({
      ownSae: 'siteB',
      log: captured.log,
      clock,
      keyTtlMs: 3_600_000,
      quota: 100,
      source: kme,
      ledger: new MemoryLedger({ nowMs: () => clock.now() }),
      createLink: () => link as unknown as AnswererLink,
    });
    keys.accept({} as TlsConnection, 'siteA', { service: 'db', require: 'qkd' });
  });
  afterEach(async () => {
    await keys.close();
    expect(clock.pending, 'timers left').to.equal(0);
  });

  it('a key manager that answers, and with faults only, is said to give no keys, until it gives one', async () => {
    kme.lookupError = KdiErrorCode.http;
    fetcher.announceKeys([key(1)]);
    await settle();
    expect(told, 'after one fault').to.deep.equal([true]);
    await clock.advance(1_000);
    expect(told).to.deep.equal([true, false]);
    expect(keys.status().kmeReachable).to.equal(false);
    expect(captured.all('kme').map(({ state, code }) => `${state} ${code}`)).to.deep.equal([
      `unreachable ${KdiErrorCode.http}`,
    ]);

    fetcher.announceKeys([key(2)]);
    await clock.advance(3_000);
    expect(told, 'the first fault of another key is no good news').to.deep.equal([true, false]);

    kme.lookupError = undefined;
    await clock.advance(10_000);
    expect(told).to.deep.equal([true, false, true]);
    expect(keys.status()).to.deep.include({ kmeReachable: true, pendingByPeer: { siteA: 0 } });
  });

  it('one that does not know a key is well', async () => {
    kme.lookupError = KdiErrorCode.connect;
    fetcher.announceKeys([key(1)]);
    await settle();
    expect(told).to.deep.equal([true, false]);
    kme.lookupError = KdiErrorCode.keyNotFound;
    fetcher.announceKeys([key(2)]);
    await settle();
    expect(told).to.deep.equal([true, false, true]);
    await clock.advance(40_000);
    expect(told).to.deep.equal([true, false, true]);
  });
});
