/** Another process: opens the ledger whose path each line of stdin holds, says how that went, and closes it at an empty one. */
import { createInterface } from 'node:readline';
import { FileLedger, isKdiError, KdiErrorCode } from '../../../kdi-client/index.ts';

let ledger: FileLedger | undefined;
console.log('here');
for await (const path of createInterface({ input: process.stdin })) {
  if (path === '') {
    await ledger?.close();
    ledger = undefined;
    console.log('closed');
    continue;
  }
  try {
    ledger = await FileLedger.open({ path, nowMs: Date.now });
    console.log('opened');
  } catch (error) {
    console.log(isKdiError(error, KdiErrorCode.ledger) && error.message.includes('in use') ? 'in use' : String(error));
  }
}
