/**
 * The ledger in an append-only file of one process. A record is on the disk
 * before `spend` resolves; records that are spent at the same time share one
 * flush. What a crash left half-written at the end is cut off: its `spend`
 * never resolved. Damage anywhere else is an error, for a ledger that forgot
 * something silently would be none.
 *
 * After a failed write nobody knows what is in the file. Nothing is spent then
 * until all that is known, here and in the file that is there by now, stands in
 * a whole new one, under the lock.
 *
 * File: magic (16 bytes), then records of 44 bytes: name (32), expiry as
 * milliseconds since the epoch (u64), first 4 bytes of SHA-256 of the two.
 */
import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { bytesEqual } from '../../tls-ext/bytes/index.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { lockForThisProcess, type ProcessLock } from './process-lock.ts';
import { DEFAULT_LEDGER_RETENTION_MS, ExpiringNames, LEDGER_ID_BYTES, type SpentLedger } from './spent-ledger.ts';

export interface FileLedgerOptions {
  readonly path: string;
  /** Wall clock: milliseconds since the epoch. */
  readonly nowMs: () => number;
  readonly retentionMs?: number;
}

const MAGIC = Uint8Array.from(Buffer.from('qstunnel-ledger1', 'latin1'));
const CHECKSUM_BYTES = 4;
const RECORD_BYTES = LEDGER_ID_BYTES + 8 + CHECKSUM_BYTES;
/** Refuses to read more: some 24 million records. */
const MAX_FILE_BYTES = 2 ** 30;
/** Rewritten without its expired records once these are this many, and more than half. */
const COMPACT_FROM_RECORDS = 65_536;
/** Between two tries to write a ledger again that failed. */
const RETRY_MS = 1_000;

interface Pending {
  readonly records: Uint8Array;
  resolve(): void;
  reject(error: unknown): void;
}

interface LedgerFile {
  readonly handle: FileHandle;
  /** Which file it is, whatever its path leads to later. */
  readonly identity: string;
}

export class FileLedger implements SpentLedger {
  readonly #options: FileLedgerOptions;
  /** All that was ever spent here, and whatever was tried in vain. */
  readonly #names: ExpiringNames;
  readonly #lock: ProcessLock;
  #file: LedgerFile;
  #recordsInFile: number;
  #pending: Pending[] = [];
  #flushing: Promise<void> | undefined;
  #broken: KdiError | undefined;
  #recovering: Promise<void> | undefined;
  #triedAtMs: number | undefined;
  #closed = false;

  /** Opens or creates the ledger, mode 0600. Rejects with `ERR_KDI_LEDGER` if it is damaged, or in use by another process. */
  static async open(options: FileLedgerOptions): Promise<FileLedger> {
    const { path, nowMs, retentionMs = DEFAULT_LEDGER_RETENTION_MS } = options;
    let lock: ProcessLock | undefined;
    try {
      lock = await lockForThisProcess(path);
      const names = new ExpiringNames(nowMs, retentionMs);
      await load(path, names, nowMs());
      return new FileLedger(options, names, await rewrite(path, names), lock);
    } catch (error) {
      await lock?.release();
      throw ledgerError(path, error);
    }
  }

  private constructor(options: FileLedgerOptions, names: ExpiringNames, file: LedgerFile, lock: ProcessLock) {
    this.#options = options;
    this.#names = names;
    this.#lock = lock;
    this.#file = file;
    this.#recordsInFile = names.size;
  }

  /** Names held. */
  get size(): number {
    return this.#names.size;
  }

  async spend(ids: readonly Uint8Array[]): Promise<readonly boolean[]> {
    if (this.#broken !== undefined) await this.#recover(this.#broken);
    if (this.#closed) throw new KdiError(KdiErrorCode.ledger, CLOSED);
    const { nowMs, retentionMs = DEFAULT_LEDGER_RETENTION_MS } = this.#options;
    const expiresAtMs = nowMs() + retentionMs;
    const spent = ids.map((id) => this.#names.add(id, expiresAtMs));
    const fresh = ids.filter((_, i) => spent[i]);
    // A name that another call is still writing is taken: false is the truth even if that write fails.
    if (fresh.length > 0) await this.#append(Buffer.concat(fresh.map((id) => recordOf(id, expiresAtMs))));
    return spent;
  }

  /** After everything that was begun is on the disk. */
  async close(): Promise<void> {
    for (let busy = this.#busy; busy !== undefined; busy = this.#busy) await busy.catch(() => {});
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.handle.close();
    await this.#lock.release();
  }

  get #busy(): Promise<void> | undefined {
    return this.#recovering ?? this.#flushing;
  }

  #append(records: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ records, resolve, reject });
      this.#flushing ??= this.#flush();
    });
  }

  async #flush(): Promise<void> {
    const { path } = this.#options;
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0);
      try {
        if (this.#broken !== undefined) throw this.#broken;
        const { handle, identity } = this.#file;
        await handle.appendFile(Buffer.concat(batch.map(({ records }) => records)));
        await handle.datasync();
        // The next process reads what the path leads to, and nothing else.
        if (identityOf(await stat(path, { bigint: true }).catch(() => undefined)) !== identity)
          throw new Error('it was removed, or replaced by another file');
        this.#recordsInFile += batch.reduce((sum, { records }) => sum + records.length / RECORD_BYTES, 0);
        for (const { resolve } of batch) resolve();
        await this.#compactIfWorthIt();
      } catch (error) {
        this.#broken ??= ledgerError(path, error);
        for (const { reject } of batch) reject(this.#broken);
      }
    }
    this.#flushing = undefined;
  }

  async #compactIfWorthIt(): Promise<void> {
    const dead = this.#recordsInFile - this.#names.size;
    if (dead < COMPACT_FROM_RECORDS || dead < this.#names.size) return;
    const old = this.#file;
    this.#file = await rewrite(this.#options.path, this.#names);
    this.#recordsInFile = this.#names.size;
    await old.handle.close();
  }

  /** Rejects while the ledger can't be written, with what is in the way now; `broken` if it is too early for another try. */
  #recover(broken: KdiError): Promise<void> {
    const nowMs = this.#options.nowMs();
    // A wall clock may be set back.
    const early = this.#triedAtMs !== undefined && Math.abs(nowMs - this.#triedAtMs) < RETRY_MS;
    if (this.#recovering === undefined && (early || this.#closed)) return Promise.reject(broken);
    this.#recovering ??= this.#writeAnew().finally(() => {
      this.#recovering = undefined;
    });
    return this.#recovering;
  }

  async #writeAnew(): Promise<void> {
    const { path, nowMs } = this.#options;
    // What was waiting is rejected first.
    await this.#flushing;
    this.#triedAtMs = nowMs();
    try {
      await this.#lock.confirm();
      // Where our lock was gone, another process may have had the ledger meanwhile.
      await load(path, this.#names, nowMs());
      const old = this.#file;
      this.#file = await rewrite(path, this.#names);
      this.#recordsInFile = this.#names.size;
      this.#broken = undefined;
      // Its disk may be gone.
      await old.handle.close().catch(() => {});
    } catch (error) {
      this.#broken = ledgerError(path, error);
      throw this.#broken;
    }
  }
}

const CLOSED = 'the ledger is closed';

function recordOf(id: Uint8Array, expiresAtMs: number): Uint8Array {
  const record = Buffer.alloc(RECORD_BYTES);
  record.set(id);
  record.writeBigUInt64BE(BigInt(Math.round(expiresAtMs)), LEDGER_ID_BYTES);
  record.set(checksumOf(record), RECORD_BYTES - CHECKSUM_BYTES);
  return record;
}

function checksumOf(record: Uint8Array): Uint8Array {
  const digest = createHash('sha256')
    .update(record.subarray(0, RECORD_BYTES - CHECKSUM_BYTES))
    .digest();
  return digest.subarray(0, CHECKSUM_BYTES);
}

function isIntact(record: Uint8Array): boolean {
  return bytesEqual(checksumOf(record), record.subarray(RECORD_BYTES - CHECKSUM_BYTES));
}

/** Reads the ledger into `names`. A torn end is ignored; `rewrite` leaves it out. */
async function load(path: string, names: ExpiringNames, nowMs: number): Promise<void> {
  let bytes: Buffer;
  try {
    const file = await open(path, 'r');
    try {
      if ((await file.stat()).size > MAX_FILE_BYTES) throw new Error(`larger than ${MAX_FILE_BYTES} bytes`);
      bytes = await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (!bytesEqual(bytes.subarray(0, MAGIC.length), MAGIC)) throw new Error('not a ledger');
  const records: Buffer[] = [];
  for (let at = MAGIC.length; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
    records.push(bytes.subarray(at, at + RECORD_BYTES));
  }
  const firstBad = records.findIndex((record) => !isIntact(record));
  const intact = firstBad < 0 ? records : records.slice(0, firstBad);
  if (firstBad >= 0 && records.slice(firstBad).some(isIntact)) throw new Error(`damaged at record ${firstBad}`);
  for (const record of intact) {
    const expiresAtMs = Number(record.readBigUInt64BE(LEDGER_ID_BYTES));
    if (expiresAtMs > nowMs) names.add(record.subarray(0, LEDGER_ID_BYTES), expiresAtMs);
  }
}

/** Writes `names` as a whole new file in place of the old one, and keeps it open for appending. */
async function rewrite(path: string, names: ExpiringNames): Promise<LedgerFile> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    const records = [...names.entries()].map(([id, expiresAtMs]) => recordOf(id, expiresAtMs));
    await file.writeFile(Buffer.concat([MAGIC, ...records]));
    await file.datasync();
    const identity = identityOf(await file.stat({ bigint: true })) as string;
    await rename(temporary, path);
    const folder = await open(dirname(path), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    return { handle: file, identity };
  } catch (error) {
    await file.close();
    await rm(temporary, { force: true });
    throw error;
  }
}

function identityOf(stats: BigIntStats | undefined): string | undefined {
  return stats && `${stats.dev}:${stats.ino}`;
}

function ledgerError(path: string, cause: unknown): KdiError {
  if (cause instanceof KdiError) return cause;
  return new KdiError(KdiErrorCode.ledger, `ledger ${path} can't be used: ${reasonOf(path, cause)}`, { cause });
}

/** What the system said, and what to do about it. */
function reasonOf(path: string, cause: unknown): string {
  const said = cause instanceof Error ? cause.message : String(cause);
  const folder = dirname(path);
  switch ((cause as NodeJS.ErrnoException | undefined)?.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return `there is no folder ${folder}; make it, or name a file in another one`;
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `this user may not write in ${folder} (${said})`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `there is no space left in ${folder} (${said})`;
    case 'EISDIR':
      return 'it is a folder; name a file';
    default:
      return said;
  }
}
