/**
 * The ledger in an append-only file of one process. A record is on the disk
 * before `spend` resolves; records that are spent at the same time share one
 * flush. What a crash left half-written at the end is cut off: its `spend`
 * never resolved. Damage anywhere else is an error, for a ledger that forgot
 * something silently would be none.
 *
 * File: magic (16 bytes), then records of 44 bytes: name (32), expiry as
 * milliseconds since the epoch (u64), first 4 bytes of SHA-256 of the two.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { bytesEqual } from '../../tls-ext/bytes/index.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { lockForThisProcess } from './process-lock.ts';
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

interface Pending {
  readonly records: Uint8Array;
  resolve(): void;
  reject(error: unknown): void;
}

export class FileLedger implements SpentLedger {
  readonly #options: FileLedgerOptions;
  readonly #names: ExpiringNames;
  readonly #unlock: () => Promise<void>;
  #file: FileHandle;
  #recordsInFile: number;
  #pending: Pending[] = [];
  #flushing: Promise<void> | undefined;
  #broken: KdiError | undefined;

  /** Opens or creates the ledger, mode 0600. Rejects with `ERR_KDI_LEDGER` if it is damaged, or in use by another process. */
  static async open(options: FileLedgerOptions): Promise<FileLedger> {
    const { path, nowMs, retentionMs = DEFAULT_LEDGER_RETENTION_MS } = options;
    let unlock = async (): Promise<void> => {};
    try {
      unlock = await lockForThisProcess(path);
      const names = new ExpiringNames(nowMs, retentionMs);
      await load(path, names, nowMs());
      return new FileLedger(options, names, await rewrite(path, names), unlock);
    } catch (error) {
      await unlock();
      throw error instanceof KdiError ? error : ledgerError(path, error);
    }
  }

  private constructor(options: FileLedgerOptions, names: ExpiringNames, file: FileHandle, unlock: () => Promise<void>) {
    this.#options = options;
    this.#names = names;
    this.#unlock = unlock;
    this.#file = file;
    this.#recordsInFile = names.size;
  }

  /** Names held. */
  get size(): number {
    return this.#names.size;
  }

  async spend(ids: readonly Uint8Array[]): Promise<readonly boolean[]> {
    if (this.#broken !== undefined) throw this.#broken;
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
    await this.#flushing?.catch(() => {});
    if (this.#broken?.message === CLOSED) return;
    this.#broken = new KdiError(KdiErrorCode.ledger, CLOSED);
    await this.#file.close();
    await this.#unlock();
  }

  #append(records: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ records, resolve, reject });
      this.#flushing ??= this.#flush();
    });
  }

  async #flush(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0);
      try {
        if (this.#broken !== undefined) throw this.#broken;
        await this.#file.appendFile(Buffer.concat(batch.map(({ records }) => records)));
        await this.#file.datasync();
        this.#recordsInFile += batch.reduce((sum, { records }) => sum + records.length / RECORD_BYTES, 0);
        for (const { resolve } of batch) resolve();
        await this.#compactIfWorthIt();
      } catch (error) {
        // What is in the file is not known any more: no more keys are spent by this process.
        this.#broken ??= ledgerError(this.#options.path, error);
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
    await old.close();
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
async function rewrite(path: string, names: ExpiringNames): Promise<FileHandle> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w', 0o600);
  try {
    const records = [...names.entries()].map(([id, expiresAtMs]) => recordOf(id, expiresAtMs));
    await file.writeFile(Buffer.concat([MAGIC, ...records]));
    await file.datasync();
    await rename(temporary, path);
    const folder = await open(dirname(path), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
    return file;
  } catch (error) {
    await file.close();
    await rm(temporary, { force: true });
    throw error;
  }
}

function ledgerError(path: string, cause: unknown): KdiError {
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
