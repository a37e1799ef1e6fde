/** A ledger whose disk failed and is well again: it goes on by itself, and nothing is spent twice. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { FileLedger, KdiErrorCode } from '../../../kdi-client/index.ts';
import { failingDisk, fullDisk } from '../support/disk.ts';
import { ids, kdiErrorOf, LEDGER_MAGIC_BYTES, LEDGER_RECORD_BYTES, LedgerFolder } from '../support/ledger-folder.ts';

/** Between two tries. */
const RETRY_MS = 1_000;
const sizeOf = (records: number): number => LEDGER_MAGIC_BYTES + LEDGER_RECORD_BYTES * records;

describe('kdi-client/ledger/file-ledger, after a failure', () => {
  const folder = new LedgerFolder();
  beforeEach(() => folder.make());
  afterEach(() => folder.remove());

  /** A ledger whose disk failed while 1 was spent, and is well again. */
  async function failedOnce(): Promise<FileLedger> {
    const ledger = await folder.open();
    const disk = await failingDisk(folder.path);
    try {
      await kdiErrorOf(ledger.spend(ids(1)));
    } finally {
      disk.mend();
    }
    return ledger;
  }

  /** What the next process finds: these are spent, and the next one is not. */
  async function expectSpent(...indices: readonly number[]): Promise<void> {
    for (const ledger of folder.opened.splice(0)) await ledger.close();
    const next = await folder.open();
    expect(await next.spend(ids(...indices))).to.deep.equal(indices.map(() => false));
    expect(await next.spend(ids(1_000))).to.deep.equal([true]);
  }

  for (const room of [0, 1, LEDGER_RECORD_BYTES - 1, LEDGER_RECORD_BYTES, LEDGER_RECORD_BYTES + 20]) {
    it(`of a disk that was full after ${room} bytes: goes on when there is space, behind whole records only`, async () => {
      const ledger = await folder.open();
      await ledger.spend(ids(1));
      const disk = await fullDisk(folder.path, room);
      try {
        const error = await kdiErrorOf(ledger.spend(ids(2, 3)));
        expect(error.message).to.include('there is no space left');
        expect((await kdiErrorOf(ledger.spend(ids(4)))).message).to.equal(error.message);
      } finally {
        disk.mend();
      }
      folder.nowMs += RETRY_MS;
      expect(await ledger.spend(ids(4, 1)), 'what was refused was not spent').to.deep.equal([true, false]);
      expect(await ledger.spend(ids(2, 3)), 'what may stand in the file is').to.deep.equal([false, false]);
      expect((await stat(folder.path)).size).to.equal(sizeOf(4));
      await expectSpent(1, 2, 3, 4);
    });
  }

  it('all who wait go on together, each name once, after one try', async () => {
    const ledger = await failedOnce();
    const spent = await Promise.all([ledger.spend(ids(2)), ledger.spend(ids(2, 3)), ledger.spend(ids(3, 4))]);
    expect(spent).to.deep.equal([[true], [false, true], [false, true]]);
    expect(await readdir(dirname(folder.path))).to.have.length(2);
    await expectSpent(1, 2, 3, 4);
  });

  it('closed while it is tried again, it has written what was asked before', async () => {
    const ledger = await failedOnce();
    const [spent] = await Promise.all([ledger.spend(ids(2)), ledger.close()]);
    expect(spent).to.deep.equal([true]);
    expect((await kdiErrorOf(ledger.spend(ids(3)))).message).to.equal('the ledger is closed');
    expect(await readdir(dirname(folder.path)), 'the lock is given back').to.deep.equal(['ledger']);
    await expectSpent(1, 2);
  });

  it('notices that its file is gone, for the next process would not find what it writes', async () => {
    const ledger = await folder.open();
    await ledger.spend(ids(1));
    await unlink(folder.path);
    expect((await kdiErrorOf(ledger.spend(ids(2)))).message).to.include('it was removed, or replaced by another file');
    expect(await ledger.spend(ids(1, 3))).to.deep.equal([false, true]);
    await expectSpent(1, 2, 3);
  });

  it('with its folder gone: says so, and goes on when there is one again, under its lock', async () => {
    const ledger = await folder.open();
    await ledger.spend(ids(1));
    const locks = (await readdir(dirname(folder.path))).filter((name) => name.includes('.lock.'));
    await rm(dirname(folder.path), { recursive: true });
    await kdiErrorOf(ledger.spend(ids(2)));
    expect((await kdiErrorOf(ledger.spend(ids(3)))).message).to.include(`there is no folder ${dirname(folder.path)}`);
    await mkdir(dirname(folder.path));
    folder.nowMs += RETRY_MS;
    expect(await ledger.spend(ids(3, 1))).to.deep.equal([true, false]);
    expect((await readdir(dirname(folder.path))).sort()).to.deep.equal(['ledger', ...locks]);
    await expectSpent(1, 2, 3);
  });

  it('remembers also what stands in the file that is there by now', async () => {
    const ledger = await folder.open();
    await ledger.spend(ids(1));
    const aside = `${folder.path}-aside`;
    const { nowMs } = folder;
    const other = await FileLedger.open({ path: aside, nowMs: () => nowMs });
    await other.spend(ids(7));
    await other.close();
    await rename(aside, folder.path);
    await kdiErrorOf(ledger.spend(ids(2)));
    expect(await ledger.spend(ids(1, 7, 3))).to.deep.equal([false, false, true]);
    await expectSpent(1, 2, 3, 7);
  });

  it('a file in its place that is no ledger is left alone, and said', async () => {
    const ledger = await folder.open();
    await unlink(folder.path);
    await writeFile(folder.path, 'something of somebody else');
    await kdiErrorOf(ledger.spend(ids(1)));
    expect((await kdiErrorOf(ledger.spend(ids(2)))).message).to.include('not a ledger');
    expect((await stat(folder.path)).size).to.equal(26);
    await unlink(folder.path);
    folder.nowMs += RETRY_MS;
    expect(await ledger.spend(ids(2))).to.deep.equal([true]);
  });

  it('waits for another process that took the ledger meanwhile, and heeds what that one spent', async function () {
    this.timeout(60_000);
    const ledger = await folder.open();
    await ledger.spend(ids(1));
    await rm(dirname(folder.path), { recursive: true });
    await mkdir(dirname(folder.path));
    const script = join(import.meta.dirname, '../support/open-ledgers.ts');
    const child = spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const answer = async (): Promise<string> => (await lines.next()).value as string;
    try {
      await answer();
      child.stdin.write(`${folder.path}\n`);
      expect(await answer()).to.equal('opened');
      const exited = once(child, 'exit');
      for (let i = 0; i < 3; i++) {
        const { message, code } = await kdiErrorOf(ledger.spend(ids(2)));
        expect(code).to.equal(KdiErrorCode.ledger);
        if (i > 0) expect(message).to.include(`in use by process ${child.pid}`);
        folder.nowMs += RETRY_MS;
      }
      const names = await readdir(dirname(folder.path));
      expect(
        names.filter((name) => name.includes('.lock.')),
        'only its own',
      ).to.have.length(1);
      child.stdin.end();
      await exited;
    } finally {
      child.stdin.end();
      child.kill();
    }
    expect(await ledger.spend(ids(3, 1))).to.deep.equal([true, false]);
    await expectSpent(1, 2, 3);
  });
});
