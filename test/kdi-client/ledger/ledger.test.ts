import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  AnswererStore,
  FileLedger,
  KdiError,
  KdiErrorCode,
  ledgerId,
  MemoryLedger,
  type QkdKeyReference,
  type SpentLedger,
} from '../../../kdi-client/index.ts';
import { keyOf } from '../support/fake-source.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const reference = (index: number): QkdKeyReference => ({
  api: 'etsi004',
  drawer: 'siteA',
  ksid: new Uint8Array(16).fill(1),
  index,
  slice: 0,
});
const id = (index: number): Uint8Array => ledgerId('fetched', reference(index));
const ids = (...indices: readonly number[]): Uint8Array[] => indices.map(id);
const MAGIC_BYTES = 16;
const RECORD_BYTES = 44;

async function errorOf(promise: Promise<unknown>): Promise<KdiError> {
  try {
    await promise;
  } catch (error) {
    expect(error).to.be.instanceOf(KdiError);
    return error as KdiError;
  }
  throw new Error('no error');
}

describe('kdi-client/ledger', () => {
  let folder: string;
  let path: string;
  let nowMs: number;
  let opened: FileLedger[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'qstunnel-ledger-'));
    path = join(folder, 'ledger');
    nowMs = 1_800_000_000_000;
    opened = [];
  });
  afterEach(async () => {
    for (const ledger of opened) await ledger.close();
    await rm(folder, { recursive: true });
  });

  async function openLedger(): Promise<FileLedger> {
    const ledger = await FileLedger.open({ path, nowMs: () => nowMs, retentionMs: 10_000 });
    opened.push(ledger);
    return ledger;
  }
  const kinds: readonly (readonly [name: string, make: () => Promise<SpentLedger>])[] = [
    ['memory', async () => new MemoryLedger({ nowMs: () => nowMs, retentionMs: 10_000 })],
    ['file', openLedger],
  ];
  for (const [name, make] of kinds) {
    it(`${name}: true once for each name, also within a call and among calls at once`, async () => {
      const ledger = await make();
      expect(await ledger.spend(ids(1, 2, 1))).to.deep.equal([true, true, false]);
      const answers = await Promise.all([ledger.spend(ids(3)), ledger.spend(ids(3)), ledger.spend(ids(2, 4))]);
      expect(answers).to.deep.equal([[true], [false], [false, true]]);
    });

    it(`${name}: forgets after the retention`, async () => {
      const ledger = await make();
      await ledger.spend(ids(1));
      nowMs += 9_999;
      expect(await ledger.spend(ids(1))).to.deep.equal([false]);
      nowMs += 1;
      expect(await ledger.spend(ids(1))).to.deep.equal([true]);
    });
  }

  it('a name depends on use and reference, and shows neither', () => {
    expect(id(1)).not.to.deep.equal(id(2));
    expect(ledgerId('drawn', reference(1))).not.to.deep.equal(id(1));
    expect(Buffer.from(id(1)).toString('latin1')).not.to.contain('siteA');
  });

  it('remembers over a restart, in a private file, of whole records only', async () => {
    const first = await openLedger();
    await first.spend(ids(1, 2));
    expect((await stat(path)).size, 'on the disk before spend resolves').to.equal(MAGIC_BYTES + 2 * RECORD_BYTES);
    await first.close();
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    const second = await openLedger();
    expect(await second.spend(ids(2, 3))).to.deep.equal([false, true]);
    expect(second.size).to.equal(3);
  });

  it('survives a crash at each byte of the last record', async () => {
    const first = await openLedger();
    await first.spend(ids(1));
    await first.spend(ids(2));
    await first.close();
    const whole = await readFile(path);
    for (let cut = 1; cut <= RECORD_BYTES; cut += 6) {
      await writeFile(path, whole.subarray(0, whole.length - cut));
      const ledger = await openLedger();
      expect(await ledger.spend(ids(1, 2)), `cut ${cut}`).to.deep.equal([false, true]);
      await ledger.close();
    }
    // A block that was allocated and never written.
    await writeFile(path, Buffer.concat([whole.subarray(0, MAGIC_BYTES + RECORD_BYTES), Buffer.alloc(500)]));
    expect(await (await openLedger()).spend(ids(1, 2))).to.deep.equal([false, true]);
  });

  it('refuses a file that is damaged in the middle, or none of ours', async () => {
    const first = await openLedger();
    await first.spend(ids(1, 2));
    await first.close();
    const whole = await readFile(path);
    whole[MAGIC_BYTES + 5]! ^= 1;
    await writeFile(path, whole);
    expect(await errorOf(openLedger())).to.include({ code: KdiErrorCode.ledger, retryable: false });
    await writeFile(path, 'something else entirely');
    expect((await errorOf(openLedger())).message).to.match(/not a ledger/);
    await truncate(path, 0);
    expect((await errorOf(openLedger())).message).to.match(/not a ledger/);
    expect(await readdir(folder), 'no lock is left').to.deep.equal(['ledger']);
  });

  it('is for one process, and a crashed one leaves no lock that counts', async () => {
    await openLedger();
    expect((await errorOf(openLedger())).message).to.match(/in use by process/);
    await opened[0]!.close();
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    await writeFile(`${path}.lock`, `${dead} 12345`);
    expect(await (await openLedger()).spend(ids(1))).to.deep.equal([true]);
  });

  it('drops expired records when it is opened', async () => {
    const first = await openLedger();
    await first.spend(ids(1, 2, 3));
    await first.close();
    nowMs += 20_000;
    await openLedger();
    expect((await stat(path)).size).to.equal(MAGIC_BYTES);
  });

  it('refuses to spend after it was closed', async () => {
    const ledger = await openLedger();
    await ledger.close();
    expect((await errorOf(ledger.spend(ids(1)))).code).to.equal(KdiErrorCode.ledger);
  });

  it('a key that was fetched before the crash is not taken after it, though a peer announces it and a KME gives it', async () => {
    const clock = new VirtualClock();
    const take = async (): Promise<string> => {
      const ledger = await openLedger();
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
    const ledger = await openLedger();
    await ledger.close();
    const store = new AnswererStore({ clock: new VirtualClock(), ledger });
    const secret = keyOf(reference(1));
    const key = { reference: reference(1), secret, metadata: { kme: 'kme-b:1' } };
    expect((await errorOf(store.acceptOnce(key))).code).to.equal(KdiErrorCode.ledger);
    expect(secret.wiped).to.equal(true);
    expect(store.find(reference(1))).to.equal(undefined);
  });

  it('is on the disk when spend resolves: the process may be killed the moment after', async function () {
    this.timeout(30_000);
    const script = join(import.meta.dirname, '../support/spend-and-die.ts');
    const child = spawnSync(process.execPath, ['--import', 'tsx', script, path, '1', '2', '3'], { encoding: 'utf8' });
    expect(child.signal, child.stderr).to.equal('SIGKILL');
    nowMs = Date.now();
    const ledger = await openLedger();
    expect(await ledger.spend(ids(1, 2, 3, 4))).to.deep.equal([false, false, false, true]);
  });
});
