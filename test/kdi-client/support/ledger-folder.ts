/** A folder for the ledgers of a test, and references to spend. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FileLedger, KdiError, ledgerId, type QkdKeyReference } from '../../../kdi-client/index.ts';

export const LEDGER_MAGIC_BYTES = 16;
export const LEDGER_RECORD_BYTES = 44;

export const reference = (index: number): QkdKeyReference => ({
  api: 'etsi004',
  drawer: 'siteA',
  ksid: new Uint8Array(16).fill(1),
  index,
  slice: 0,
});
export const ids = (...indices: readonly number[]): Uint8Array[] =>
  indices.map((index) => ledgerId('fetched', reference(index)));
export const idsFrom = (first: number, count: number): Uint8Array[] =>
  ids(...Array.from({ length: count }, (_, i) => first + i));

export async function kdiErrorOf(promise: Promise<unknown>): Promise<KdiError> {
  try {
    await promise;
  } catch (error) {
    expect(error).to.be.instanceOf(KdiError);
    return error as KdiError;
  }
  throw new Error('no error');
}

/** One at a time, of a wall clock that the test moves; closed and removed behind it. */
export class LedgerFolder {
  path = '';
  nowMs = 0;
  readonly retentionMs = 10_000;
  readonly opened: FileLedger[] = [];
  #folder = '';

  async make(): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), 'qstunnel-ledger-'));
    this.path = join(this.#folder, 'ledger');
    this.nowMs = 1_800_000_000_000;
  }

  async open(): Promise<FileLedger> {
    const { path, retentionMs } = this;
    const ledger = await FileLedger.open({ path, nowMs: () => this.nowMs, retentionMs });
    this.opened.push(ledger);
    return ledger;
  }

  async remove(): Promise<void> {
    for (const ledger of this.opened.splice(0)) await ledger.close();
    await rm(this.#folder, { recursive: true });
  }
}
