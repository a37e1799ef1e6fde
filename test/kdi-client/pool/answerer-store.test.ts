import { expect } from 'chai';
import {
  AnswererStore,
  type AnswererStoreOptions,
  KdiErrorCode,
  ledgerId,
  MemoryLedger,
  type QkdKeyReference,
} from '../../../kdi-client/index.ts';
import type { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { keyOf } from '../support/fake-source.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const HOUR_MS = 3_600_000;
/** Expired keys are wiped this much later at most. */
const SWEEP_MS = 1_000;

const reference = (index: number): QkdKeyReference => ({
  api: 'etsi004',
  drawer: 'siteA',
  ksid: new Uint8Array(16).fill(1),
  index,
  slice: 0,
});

describe('kdi-client/pool/answerer-store', () => {
  let clock: VirtualClock;
  let store: AnswererStore;
  beforeEach(() => {
    make();
  });
  afterEach(() => {
    store.close();
    expect(clock.pending).to.equal(0);
  });

  function make(options: Partial<AnswererStoreOptions> = {}): void {
    clock = new VirtualClock();
    store = new AnswererStore({ clock, ...options });
  }

  /** Accepts a key that lives this long; tells its secret. */
  function accept(index: number, lifeMs?: number): SecretBytes {
    const secret = keyOf(reference(index));
    store.accept({
      reference: reference(index),
      secret,
      metadata: { kme: 'kme-b:1' },
      ...(lifeMs === undefined ? {} : { expiresAtMs: clock.now() + lifeMs }),
    });
    return secret;
  }
  const codeOf = (index: number) => store.refusal(reference(index))?.code;

  it('wipes each key when its time has come, whichever came first, and no other', async () => {
    const secrets = [20_000, 10_000, 10_000, 30_000].map((lifeMs, index) => accept(index, lifeMs));
    const wiped = () => secrets.map((secret) => secret.wiped);
    await clock.advance(9_999);
    expect(wiped()).to.deep.equal([false, false, false, false]);
    expect(store.find(reference(1))?.secret.length).to.equal(32);
    await clock.advance(1);
    expect(store.find(reference(1)), 'at once').to.equal(undefined);
    expect(store.burn(reference(2))).to.equal(false);
    await clock.advance(SWEEP_MS);
    expect(wiped()).to.deep.equal([false, true, true, false]);
    await clock.advance(10_000);
    expect(wiped()).to.deep.equal([true, true, true, false]);
    expect(store.status()).to.deep.include({ keys: 1, keysByDrawer: { siteA: 1 }, remembered: 3 });
    await clock.advance(10_000);
    expect(wiped()).to.deep.equal([true, true, true, true]);
    expect(store.status()).to.deep.equal({
      keys: 0,
      keysByDrawer: {},
      remembered: 4,
      totals: { accepted: 4, burnt: 0, dropped: 0, expired: 4 },
    });
    expect(clock.pending, 'no timer for nothing').to.equal(0);
  });

  it('lets no key live longer than an hour, whatever its KME says', async () => {
    const secrets = [accept(1), accept(2, 10 * HOUR_MS)];
    await clock.advance(HOUR_MS - 1);
    expect([1, 2].map((index) => store.find(reference(index))?.secret.length)).to.deep.equal([32, 32]);
    await clock.advance(1 + SWEEP_MS);
    expect(secrets.map((secret) => secret.wiped)).to.deep.equal([true, true]);
  });

  it('refuses what was burnt, dropped or never here for six hours, to the millisecond', async () => {
    accept(1);
    expect(codeOf(1), 'here').to.equal(KdiErrorCode.alreadyUsed);
    store.burn(reference(1));
    accept(2);
    store.drop(reference(2));
    store.drop(reference(3));
    await clock.advance(6 * HOUR_MS - 1);
    expect([1, 2, 3, 4].map(codeOf)).to.deep.equal([...Array(3).fill(KdiErrorCode.alreadyUsed), undefined]);
    await clock.advance(1);
    expect([1, 2, 3].map(codeOf)).to.deep.equal([undefined, undefined, undefined]);
  });

  it('forgets what is old enough with the keys that expire, and not more', async () => {
    make({ rememberBurntMs: 5_000 });
    store.drop(reference(1));
    await clock.advance(2_000);
    store.drop(reference(2));
    accept(3, 2_000);
    // Swept at 5,000: the first is gone by then, and what is refused since.
    await clock.advance(3_000);
    expect(store.status().remembered).to.equal(2);
    expect([1, 2, 3].map(codeOf)).to.deep.equal([undefined, KdiErrorCode.alreadyUsed, KdiErrorCode.alreadyUsed]);
  });

  it('remembers a reference of any length, and takes none for another', () => {
    const skip = (drawer: string, keyId: string): QkdKeyReference => ({
      api: 'skip',
      drawer,
      keyId: Buffer.from(keyId),
    });
    const [drawer, keyId] = ['d'.repeat(255), 'k'.repeat(64)];
    const gone = [skip(drawer, keyId), skip(drawer, 'k'), skip('d', keyId), skip('d', 'k')];
    const others = [
      skip(drawer, `${keyId.slice(1)}l`),
      skip(`${drawer.slice(1)}e`, keyId),
      skip('d', 'l'),
      skip('e', 'k'),
    ];
    for (const each of gone) store.drop(each);
    expect(gone.map((each) => store.refusal(each)?.code)).to.deep.equal(gone.map(() => KdiErrorCode.alreadyUsed));
    expect(others.map((each) => store.refusal(each))).to.deep.equal(others.map(() => undefined));
  });

  it('remembers so many references at most, the newest', () => {
    make({ maxRemembered: 3 });
    for (const index of [1, 2, 3, 1, 4]) store.drop(reference(index));
    expect(store.status().remembered).to.equal(3);
    expect([1, 2, 3, 4].map(codeOf)).to.deep.equal([
      KdiErrorCode.alreadyUsed,
      undefined,
      KdiErrorCode.alreadyUsed,
      KdiErrorCode.alreadyUsed,
    ]);
  });

  it('writes a key down as fetched: the same process may have drawn it too', async () => {
    const ledger = new MemoryLedger({ nowMs: () => clock.now() });
    make({ ledger });
    await ledger.spend([ledgerId('drawn', reference(1))]);
    const key = { reference: reference(1), secret: keyOf(reference(1)), metadata: { kme: 'kme-b:1' } };
    await store.acceptOnce(key);
    expect(ledger.size).to.equal(2);
    expect(await ledger.spend([ledgerId('fetched', reference(1))])).to.deep.equal([false]);
  });
});
