import { expect } from 'chai';
import {
  AnswererStore,
  type FileLedger,
  type KdiError,
  KdiErrorCode,
  ledgerId,
  MemoryLedger,
} from '../../../kdi-client/index.ts';
import { ledgerIdOfStream } from '../../../kdi-client/ledger/spent-ledger.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import { keyOf } from '../support/fake-source.ts';
import { ids, kdiErrorOf, LedgerFolder, reference } from '../support/ledger-folder.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

describe('kdi-client/ledger', () => {
  const folder = new LedgerFolder();
  beforeEach(() => folder.make());
  afterEach(() => folder.remove());

  const kinds: readonly (readonly [name: string, make: () => Promise<MemoryLedger | FileLedger>])[] = [
    ['memory', async () => new MemoryLedger({ nowMs: () => folder.nowMs, retentionMs: 10_000 })],
    ['file', () => folder.open()],
  ];
  for (const [name, make] of kinds) {
    it(`${name}: true once for each name, also within a call and among calls at once`, async () => {
      const ledger = await make();
      expect(await ledger.spend(ids(1, 2, 1))).to.deep.equal([true, true, false]);
      const answers = await Promise.all([ledger.spend(ids(3)), ledger.spend(ids(3)), ledger.spend(ids(2, 4))]);
      expect(answers).to.deep.equal([[true], [false], [false, true]]);
      expect(ledger.size).to.equal(4);
    });

    it(`${name}: forgets after the retention`, async () => {
      const ledger = await make();
      await ledger.spend(ids(1));
      folder.nowMs += 9_999;
      expect(await ledger.spend(ids(1))).to.deep.equal([false]);
      folder.nowMs += 1;
      expect(await ledger.spend(ids(1))).to.deep.equal([true]);
    });
  }

  it('a name depends on use and reference, and shows neither', () => {
    expect(ids(1)[0]).not.to.deep.equal(ids(2)[0]);
    expect(ledgerId('drawn', reference(1))).not.to.deep.equal(ids(1)[0]);
    expect(Buffer.from(ids(1)[0]!).toString('latin1')).not.to.contain('siteA');
    const ofStream = (fill: number) => hexOf(ledgerIdOfStream(new Uint8Array(16).fill(fill)));
    expect(new Set([ofStream(1), ofStream(2), hexOf(ids(1)[0]!)]).size, 'of a stream').to.equal(3);
    expect(ofStream(1)).to.have.length(64).and.not.contain('01'.repeat(16));
  });

  it('a key that was fetched before the crash is not taken after it, though a peer announces it and a KME gives it', async () => {
    const clock = new VirtualClock();
    const take = async (): Promise<string> => {
      const ledger = await folder.open();
      const store = new AnswererStore({ clock, ledger });
      const secret = keyOf(reference(1));
      const key = { reference: reference(1), secret, metadata: { kme: 'kme-b:1' } };
      const outcome = await store.acceptOnce(key).then(
        () => (store.burn(reference(1)) ? 'used' : 'not there'),
        (error: KdiError) => error.code,
      );
      expect(secret.wiped).to.equal(true);
      expect(store.burn(reference(1)), 'twice in one process').to.equal(false);
      store.close();
      await ledger.close();
      return outcome;
    };
    expect(await take()).to.equal('used');
    expect(await take()).to.equal(KdiErrorCode.alreadyUsed);
  });

  it('a key that can not be written down is not taken', async () => {
    const ledger = await folder.open();
    await ledger.close();
    const store = new AnswererStore({ clock: new VirtualClock(), ledger });
    const secret = keyOf(reference(1));
    const key = { reference: reference(1), secret, metadata: { kme: 'kme-b:1' } };
    expect((await kdiErrorOf(store.acceptOnce(key))).code).to.equal(KdiErrorCode.ledger);
    expect(secret.wiped).to.equal(true);
    expect(store.find(reference(1))).to.equal(undefined);
  });
});
