import { expect } from 'chai';
import { declareScenarios, VARIANTS } from './every-scenario.ts';
import { TwoSites } from './two-sites.ts';

/** Longer than any reply here. */
const MAX_REPLY_BYTES = 2_000;

describe('kdi-client: two sites over a faulty key manager, the rest', () => {
  declareScenarios(({ quick = false }) => !quick);
});

describe('kdi-client: two sites over a key manager that breaks off at each byte of a reply', () => {
  for (const [api, query] of VARIANTS) {
    for (const side of ['a', 'b'] as const) {
      for (const how of ['reset', 'end'] as const) {
        it(`${api}${query}, ${side}, ${how}`, async () => {
          const sites = await TwoSites.start({ api, query });
          const kme = sites.kme(side);
          try {
            sites.begin();
            await sites.healthy(10_000);
            let afterBytes = 0;
            for (; afterBytes < MAX_REPLY_BYTES; afterBytes++) {
              const [struck, errors] = [kme.struck, sites.errors[side].length];
              const { drawn, acknowledged } = sites.pool.status().totals;
              kme.fail({ fault: how, afterBytes });
              const lease = await sites.take(2_000);
              expect(lease, `a key at byte ${afterBytes}`).to.not.equal(undefined);
              await sites.complete(lease!);
              // Either the reply is cut and that is noticed, or it was whole already.
              const whole = (): boolean => {
                const { totals } = sites.pool.status();
                return kme.struck > struck && totals.drawn > drawn && totals.acknowledged > acknowledged;
              };
              await sites.until(() => sites.errors[side].length > errors || whole(), 60_000, `byte ${afterBytes}`);
              const isWhole = sites.errors[side].length === errors;
              kme.fail(undefined);
              await sites.healthy(300_000);
              if (isWhole) break;
            }
            expect(afterBytes, 'no reply is that long').to.be.below(MAX_REPLY_BYTES);
            expect(afterBytes).to.be.above(50);
            expect(sites.leftBehind).to.deep.equal([]);
          } finally {
            await sites.end();
          }
        });
      }
    }
  }
});
