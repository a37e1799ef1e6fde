import { appendFile, copyFile, mkdtemp, readFile, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileLedger, MemoryLedger, type SpentLedger } from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';

/** A ledger that processes open, one after the other, and that a crash may tear. */
export interface LedgerPlace {
  open(): Promise<SpentLedger>;
  /** The process is dead: what was resolved stays, what was under way may or may not. `luck` is in [0, 1). */
  crash(luck: number): Promise<void>;
  /** Writes under way. */
  readonly busy: number;
}

/** In memory, and deterministic: a spend takes a few turns, and is durable when it resolves. */
export class MemoryPlace implements LedgerPlace {
  readonly #durable = new Map<string, Uint8Array>();
  #underWay: readonly Uint8Array[][] = [];
  #generation = 0;
  busy = 0;

  async open(): Promise<SpentLedger> {
    const generation = ++this.#generation;
    const memory = new MemoryLedger({ nowMs: () => 0, retentionMs: 1 });
    await memory.spend([...this.#durable.values()]);
    const spend = async (ids: readonly Uint8Array[]): Promise<readonly boolean[]> => {
      const spent = await memory.spend(ids);
      const batch = ids.filter((_, i) => spent[i]).map((id) => Uint8Array.from(id));
      this.#underWay = [...this.#underWay, batch];
      this.busy++;
      await new Promise((resolve) => setImmediate(resolve));
      this.busy--;
      // Of a dead process: nobody hears the answer, and the crash has settled what was written.
      if (generation !== this.#generation) return new Promise<never>(() => {});
      this.#underWay = this.#underWay.filter((other) => other !== batch);
      for (const id of batch) this.#durable.set(hexOf(id), id);
      return spent;
    };
    return { spend, close: async () => {} };
  }

  async crash(luck: number): Promise<void> {
    this.#generation++;
    const records = this.#underWay.flat();
    for (const id of records.slice(0, Math.floor(luck * (records.length + 1)))) this.#durable.set(hexOf(id), id);
    this.#underWay = [];
  }
}

/** The real file: a crash cuts its end anywhere behind what was resolved, in the middle of a record as well. */
export class FilePlace implements LedgerPlace {
  readonly #folder: string;
  #files = 0;
  #resolvedBytes = 0;
  readonly #opened: SpentLedger[] = [];
  busy = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  get #path(): string {
    return join(this.#folder, `ledger-${this.#files}`);
  }

  async open(): Promise<SpentLedger> {
    const path = this.#path;
    const ledger = await FileLedger.open({ path, nowMs: () => 0 });
    this.#opened.push(ledger);
    this.#resolvedBytes = (await stat(path)).size;
    return {
      spend: async (ids) => {
        this.busy++;
        try {
          const spent = await ledger.spend(ids);
          if (path === this.#path) this.#resolvedBytes = (await stat(path)).size;
          return spent;
        } finally {
          this.busy--;
        }
      },
      close: () => ledger.close(),
    };
  }

  async crash(luck: number): Promise<void> {
    const before = this.#path;
    this.#files++;
    await copyFile(before, this.#path);
    const { length } = await readFile(this.#path);
    await truncate(this.#path, this.#resolvedBytes + Math.floor(luck * (length - this.#resolvedBytes + 1)));
    // Half a record that never was acknowledged.
    if (luck > 0.5) await appendFile(this.#path, Buffer.alloc(Math.floor(luck * 43), 0x5a));
  }

  /** Closes what dead processes left. */
  async end(): Promise<void> {
    for (const ledger of this.#opened) await ledger.close();
  }
}

/** Two of them in folders of their own, which `end` removes. */
export async function filePlaces() {
  const [folderA, folderB] = [await newFolder(), await newFolder()];
  const [a, b] = [new FilePlace(folderA), new FilePlace(folderB)];
  return {
    places: { a, b },
    end: async () => {
      await Promise.all([a.end(), b.end()]);
      await Promise.all([folderA, folderB].map((folder) => rm(folder, { recursive: true, force: true })));
    },
  };
}

function newFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'qstunnel-test-'));
}
