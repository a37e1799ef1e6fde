/** Writing drawn keys down before anybody hears of them, so that none enters a pool twice. */
import type { DeliveredKey } from '../key-source.ts';
import { ledgerId, type SpentLedger } from '../ledger/spent-ledger.ts';

/**
 * Writes the keys down as drawn and returns those that were not before; the
 * others are wiped. Rejects with the ledger's error, having wiped them all.
 */
export async function writeDownDrawn(
  ledger: SpentLedger | undefined,
  delivered: readonly DeliveredKey[],
): Promise<readonly DeliveredKey[]> {
  if (ledger === undefined) return delivered;
  try {
    const spent = await ledger.spend(delivered.map(({ reference }) => ledgerId('drawn', reference)));
    return delivered.filter((key, i) => {
      if (!spent[i]) key.secret.wipe();
      return spent[i];
    });
  } catch (error) {
    for (const { secret } of delivered) secret.wipe();
    throw error;
  }
}
