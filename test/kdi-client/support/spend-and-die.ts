/** Spends references in a ledger, and is killed as soon as it is told that they are: `spend-and-die.ts PATH INDEX…`. */
import { FileLedger, ledgerId } from '../../../kdi-client/index.ts';

const [path = '', ...indices] = process.argv.slice(2);
const ledger = await FileLedger.open({ path, nowMs: () => Date.now(), retentionMs: 3_600_000 });
const ksid = new Uint8Array(16).fill(1);
await ledger.spend(
  indices.map((index) =>
    ledgerId('fetched', { api: 'etsi004', drawer: 'siteA', ksid, index: Number(index), slice: 0 }),
  ),
);
process.kill(process.pid, 'SIGKILL');
