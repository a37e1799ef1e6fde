import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFile,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  rmdir,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { FileLedger, KdiErrorCode } from '../../../kdi-client/index.ts';
import { failingDisk, watchedDisk } from '../support/disk.ts';
import {
  ids,
  idsFrom,
  kdiErrorOf,
  LEDGER_MAGIC_BYTES,
  LEDGER_RECORD_BYTES,
  LedgerFolder,
} from '../support/ledger-folder.ts';

/** Between two tries after a failure. */
const RETRY_MS = 1_000;

describe('kdi-client/ledger/file-ledger', () => {
  const folder = new LedgerFolder();
  beforeEach(() => folder.make());
  afterEach(() => folder.remove());

  it('remembers over a restart, in a private file, of whole records only', async () => {
    const first = await folder.open();
    await first.spend(ids(1, 2));
    expect((await stat(folder.path)).size, 'on the disk before spend resolves').to.equal(
      LEDGER_MAGIC_BYTES + 2 * LEDGER_RECORD_BYTES,
    );
    await first.close();
    expect((await stat(folder.path)).mode & 0o777).to.equal(0o600);
    const second = await folder.open();
    expect(await second.spend(ids(2, 3))).to.deep.equal([false, true]);
    expect(second.size).to.equal(3);
  });

  it('survives a crash at each byte of the last record', async () => {
    const first = await folder.open();
    await first.spend(ids(1));
    await first.spend(ids(2));
    await first.close();
    const whole = await readFile(folder.path);
    for (let cut = 1; cut <= LEDGER_RECORD_BYTES; cut += 6) {
      await writeFile(folder.path, whole.subarray(0, whole.length - cut));
      const ledger = await folder.open();
      expect(await ledger.spend(ids(1, 2)), `cut ${cut}`).to.deep.equal([false, true]);
      await ledger.close();
    }
    // A block that was allocated and never written.
    await writeFile(
      folder.path,
      Buffer.concat([whole.subarray(0, LEDGER_MAGIC_BYTES + LEDGER_RECORD_BYTES), Buffer.alloc(500)]),
    );
    expect(await (await folder.open()).spend(ids(1, 2))).to.deep.equal([false, true]);
  });

  it('refuses a file that is damaged in the middle, or none of ours', async () => {
    const first = await folder.open();
    await first.spend(ids(1, 2));
    await first.close();
    const whole = await readFile(folder.path);
    whole[LEDGER_MAGIC_BYTES + 5]! ^= 1;
    await writeFile(folder.path, whole);
    expect(await kdiErrorOf(folder.open())).to.include({ code: KdiErrorCode.ledger, retryable: false });
    await writeFile(folder.path, 'something else entirely');
    expect((await kdiErrorOf(folder.open())).message).to.match(/not a ledger/);
    await truncate(folder.path, 0);
    expect((await kdiErrorOf(folder.open())).message).to.match(/not a ledger/);
    expect(await readdir(dirname(folder.path)), 'no lock is left').to.deep.equal(['ledger']);
  });

  it('is for one process, and a crashed one leaves no lock that counts', async () => {
    await folder.open();
    expect((await kdiErrorOf(folder.open())).message).to.match(/in use by process/);
    await folder.opened[0]!.close();
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    await writeFile(`${folder.path}.lock.${dead}-12345-00000000`, '');
    expect(await (await folder.open()).spend(ids(1))).to.deep.equal([true]);
    expect(await locksOf(folder.path), 'what it left is taken away').to.have.length(1);
  });

  it('drops expired records when it is opened', async () => {
    const first = await folder.open();
    await first.spend(ids(1, 2, 3));
    await first.close();
    folder.nowMs += 20_000;
    await folder.open();
    expect((await stat(folder.path)).size).to.equal(LEDGER_MAGIC_BYTES);
  });

  it('refuses to spend after it was closed', async () => {
    const ledger = await folder.open();
    await ledger.close();
    expect((await kdiErrorOf(ledger.spend(ids(1)))).code).to.equal(KdiErrorCode.ledger);
  });

  it('is on the disk when spend resolves: the process may be killed the moment after', async function () {
    this.timeout(30_000);
    const script = join(import.meta.dirname, '../support/spend-and-die.ts');
    const child = spawnSync(process.execPath, ['--import', 'tsx', script, folder.path, '1', '2', '3'], {
      encoding: 'utf8',
    });
    expect(child.signal, child.stderr).to.equal('SIGKILL');
    folder.nowMs = Date.now();
    const ledger = await folder.open();
    expect(await ledger.spend(ids(1, 2, 3, 4))).to.deep.equal([false, false, false, true]);
  });

  it('remembers over any number of restarts, which write it anew', async () => {
    for (const fresh of [1, 2, 3]) {
      const ledger = await folder.open();
      expect(await ledger.spend(ids(1, 2, fresh))).to.deep.equal([fresh === 1, fresh === 1, fresh > 2]);
      await ledger.spend(ids(1));
      await ledger.close();
    }
    expect((await stat(folder.path)).size, 'a record for each name').to.equal(sizeOf(3));
  });

  it('a record lasts until its expiry, not a millisecond longer', async () => {
    await (await folder.open()).spend(ids(1));
    await folder.opened[0]!.close();
    folder.nowMs += folder.retentionMs - 1;
    const inTime = await folder.open();
    expect(inTime.size).to.equal(1);
    await inTime.close();
    folder.nowMs += 1;
    expect((await folder.open()).size).to.equal(0);
  });

  it('takes nothing from a torn end, whatever stands there', async () => {
    const first = await folder.open();
    await first.spend(ids(1));
    await first.close();
    await appendFile(folder.path, Buffer.alloc(3 * LEDGER_RECORD_BYTES - 1, 0xff));
    expect((await folder.open()).size).to.equal(1);
    expect((await stat(folder.path)).size).to.equal(sizeOf(1));
  });

  it('a file that nobody could have written in six hours is not read', async () => {
    await writeFile(folder.path, 'qstunnel-ledger1');
    await truncate(folder.path, 2 ** 30 + 1);
    expect((await kdiErrorOf(folder.open())).message).to.match(/larger than 1073741824 bytes/);
  });

  it('a path that is a folder, or in none, or in a file, is said with its cause', async () => {
    await mkdir(folder.path);
    const isFolder = await kdiErrorOf(folder.open());
    expect(isFolder.message).to.equal(`ledger ${folder.path} can't be used: it is a folder; name a file`);
    expect(isFolder.cause).to.have.property('code', 'EISDIR');
    await rmdir(folder.path);
    const path = join(folder.path, 'ledger');
    const nowhere = await kdiErrorOf(FileLedger.open({ path, nowMs: () => 0 }));
    expect(nowhere).to.include({
      code: KdiErrorCode.ledger,
      message: `ledger ${path} can't be used: there is no folder ${folder.path}; make it, or name a file in another one`,
    });
    expect(nowhere.cause).to.have.property('code', 'ENOENT');
    await writeFile(folder.path, '');
    const inFile = await kdiErrorOf(FileLedger.open({ path, nowMs: () => 0 }));
    expect(inFile.message).to.equal(nowhere.message);
  });

  describe('once most of it has expired', () => {
    const MANY = 65_536;

    it('is written anew, remembers what lasts, and what is spent afterwards', async () => {
      const ledger = await folder.open();
      await ledger.spend(idsFrom(0, MANY));
      folder.nowMs += 1;
      await ledger.spend(ids(MANY));
      expect((await stat(folder.path)).size).to.equal(sizeOf(MANY + 1));
      folder.nowMs += folder.retentionMs - 1;
      await ledger.spend(ids(MANY + 1));
      expect(await ledger.spend(ids(MANY + 2, MANY)), 'of the second millisecond').to.deep.equal([true, false]);
      expect((await stat(folder.path)).size, 'what is spent meanwhile may stand there twice').to.be.within(
        sizeOf(3),
        sizeOf(4),
      );
      expect(await filesOpenIn(dirname(folder.path)), 'the old file is closed').to.deep.equal([folder.path]);
      await ledger.close();
      expect(await (await folder.open()).spend(ids(MANY, MANY + 1, MANY + 2, MANY + 3))).to.deep.equal([
        false,
        false,
        false,
        true,
      ]);
    });

    it('again and again', async () => {
      const ledger = await folder.open();
      for (let round = 0; round < 3; round++) {
        await ledger.spend(idsFrom(MANY * round, MANY));
        folder.nowMs += folder.retentionMs;
      }
      await ledger.spend(ids(0));
      expect(await ledger.spend(ids(0))).to.deep.equal([false]);
      expect((await stat(folder.path)).size).to.be.within(sizeOf(1), sizeOf(2));
    });

    for (const [what, expired, lasting, kept] of [
      ['not for less', MANY - 1, 1, MANY],
      ['not while as many last', MANY, MANY + 1, 2 * MANY + 1],
    ] as const) {
      it(what, async () => {
        const ledger = await folder.open();
        await ledger.spend(idsFrom(0, expired));
        folder.nowMs += folder.retentionMs;
        await ledger.spend(idsFrom(expired, lasting));
        await ledger.close();
        expect((await stat(folder.path)).size).to.equal(sizeOf(kept));
      });
    }
  });

  describe('on a disk that fails', () => {
    it('spends nothing more, for nobody, and whoever waited is told', async () => {
      const ledger = await folder.open();
      await ledger.spend(ids(1));
      const disk = await failingDisk(folder.path);
      try {
        const [first, second] = await Promise.all([
          kdiErrorOf(ledger.spend(ids(2))),
          kdiErrorOf(ledger.spend(ids(3))),
          // Waits for the disk as well: the first of its names is new.
          kdiErrorOf(ledger.spend(ids(4, 1))),
        ]);
        expect(first).to.include({ code: KdiErrorCode.ledger, retryable: false });
        expect(first.message).to.match(/can't be used: no space left/);
        expect(second.message).to.equal(first.message);
        expect(disk.flushes, 'the second time nothing is tried').to.equal(1);
        expect((await kdiErrorOf(ledger.spend(ids(1)))).message).to.match(/no space left/);
        expect(disk.flushes).to.equal(2);
        folder.nowMs += RETRY_MS - 1;
        expect((await kdiErrorOf(ledger.spend(ids(1)))).message).to.match(/no space left/);
        expect(disk.flushes, 'nor before a second has passed').to.equal(2);
      } finally {
        disk.mend();
      }
    });

    it('leaves nothing behind where it can not even be opened', async () => {
      await (await folder.open()).close();
      const disk = await failingDisk(folder.path);
      try {
        expect((await kdiErrorOf(folder.open())).message).to.match(/no space left/);
      } finally {
        disk.mend();
      }
      expect(await readdir(dirname(folder.path))).to.deep.equal(['ledger']);
      await folder.open();
    });

    it('a name that is spent already needs no disk', async () => {
      const ledger = await folder.open();
      await ledger.spend(ids(1));
      const disk = await failingDisk(folder.path);
      try {
        expect(await ledger.spend(ids(1))).to.deep.equal([false]);
        expect(disk.flushes).to.equal(0);
      } finally {
        disk.mend();
      }
    });
  });

  it('written anew, it is on the disk before it takes the place of the old one, and so is that', async () => {
    await (await folder.open()).close();
    const file = await open(folder.path, 'r');
    const prototype = Object.getPrototypeOf(file);
    await file.close();
    const { datasync, sync } = prototype;
    const steps: string[] = [];
    // The folder is the only one that is flushed whole.
    const watched = (name: string, real: () => Promise<void>) =>
      async function (this: unknown) {
        steps.push(`${name}, ${(await readdir(dirname(folder.path))).includes('ledger.new') ? 'before' : 'after'}`);
        return await real.call(this);
      };
    prototype.datasync = watched('file', datasync);
    prototype.sync = watched('folder', sync);
    try {
      await folder.open();
    } finally {
      Object.assign(prototype, { datasync, sync });
    }
    expect(steps).to.deep.equal(['file, before', 'folder, after']);
  });

  it('many calls at once share flushes, and each name is in the file once', async () => {
    const ledger = await folder.open();
    const disk = await watchedDisk(folder.path);
    try {
      await Promise.all(Array.from({ length: 50 }, (_, i) => ledger.spend(ids(i, i + 1))));
    } finally {
      disk.mend();
    }
    expect(disk.flushes).to.be.lessThan(3);
    expect((await stat(folder.path)).size).to.equal(sizeOf(51));
  });

  describe('its lock', () => {
    const lockOf = (owner: string) => `${folder.path}.lock.${owner}`;
    const nameOf = async (pid: number) => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
      const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
      return `${pid}-${stat.split(') ')[1]!.split(' ')[19]}-${bootId.slice(0, 8)}`;
    };

    it('names its process, with its start, and goes with it', async () => {
      const ledger = await folder.open();
      expect(await locksOf(folder.path)).to.deep.equal([lockOf(await nameOf(process.pid))]);
      await ledger.close();
      expect(await locksOf(folder.path)).to.deep.equal([]);
    });

    it('of another process that runs counts, by whose number a user finds it', async () => {
      const other = spawn(process.execPath, ['-e', 'process.stdin.resume(); console.log(1)'], {
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      try {
        await once(other.stdout, 'data');
        const lock = lockOf(await nameOf(other.pid as number));
        await writeFile(lock, '');
        expect((await kdiErrorOf(folder.open())).message).to.include(`in use by process ${other.pid};`);
        expect(await locksOf(folder.path), 'of whoever was here first').to.deep.equal([lock]);
      } finally {
        other.stdin.end();
        await once(other, 'exit');
      }
      expect((await folder.open()).size).to.equal(0);
    });

    for (const [what, owner] of [
      ['whose number runs, but began at another time', `${process.pid}-12345-00000000`],
      ['that names nobody', ''],
      ['that names no process', 'nobody'],
      ['of process 0', '0'],
    ] as const) {
      it(`${what} does not count`, async () => {
        await writeFile(lockOf(owner), '');
        expect(await (await folder.open()).spend(ids(1))).to.deep.equal([true]);
        expect(await locksOf(folder.path)).to.deep.equal([lockOf(await nameOf(process.pid))]);
      });
    }

    it('that can not be made for want of room in its name is no other process', async () => {
      folder.path = join(dirname(folder.path), 'l'.repeat(250));
      expect((await kdiErrorOf(folder.open())).message)
        .to.include('ENAMETOOLONG')
        .and.not.include('in use');
    });

    it('need not be there any more when it is given back', async () => {
      const ledger = await folder.open();
      for (const lock of await locksOf(folder.path)) await rm(lock);
      await ledger.close();
    });

    it('of a process that is gone does no harm where it can not be taken away', async () => {
      await mkdir(lockOf('1-12345-00000000'));
      expect(await (await folder.open()).spend(ids(1))).to.deep.equal([true]);
    });

    it('is one at most, also where several start at once after a crash', async function () {
      this.timeout(60_000);
      const script = join(import.meta.dirname, '../support/open-ledgers.ts');
      const others = Array.from({ length: 2 }, () =>
        spawn(process.execPath, ['--import', 'tsx', script], { stdio: ['pipe', 'pipe', 'inherit'] }),
      );
      const lines = others.map(({ stdout }) => createInterface({ input: stdout })[Symbol.asyncIterator]());
      const answers = () => Promise.all(lines.map(async (line) => (await line.next()).value as string));
      const tell = (line: string) => {
        for (const { stdin } of others) stdin.write(`${line}\n`);
      };
      try {
        await answers();
        for (let round = 0; round < 200; round++) {
          const path = `${folder.path}-${round}`;
          await writeFile(`${path}.lock.1-12345-00000000`, '');
          tell(path);
          const said = await answers();
          expect(
            said.every((each) => each === 'opened' || each === 'in use'),
            said.join(),
          ).to.equal(true);
          expect(said.filter((each) => each === 'opened').length, `round ${round}`).to.be.lessThan(2);
          tell('');
          await answers();
          expect(await locksOf(path)).to.deep.equal([]);
        }
      } finally {
        for (const other of others) other.stdin.end();
        await Promise.all(others.map((other) => once(other, 'exit')));
      }
    });
  });
});

const sizeOf = (records: number): number => LEDGER_MAGIC_BYTES + LEDGER_RECORD_BYTES * records;

async function locksOf(path: string): Promise<string[]> {
  const names = await readdir(dirname(path));
  return names.map((name) => join(dirname(path), name)).filter((name) => name.startsWith(`${path}.lock`));
}

async function filesOpenIn(path: string): Promise<string[]> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(path));
}
