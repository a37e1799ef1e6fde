/** Every number that pools and budget show is explained in docs/kdi-client.md. */
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { AnswererStore, DrawerPool, KeyBudget } from '../../../kdi-client/index.ts';
import { FakeSource } from '../support/fake-source.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

/** Names of what the numbers are about, which need no explanation. */
const PLAIN: readonly string[] = ['peerSaeId', 'kme', 'api', 'channelUp', 'streamOpen'];

describe('kdi-client: the numbers of pools and budget', () => {
  const docs = readFileSync(new URL('../../../docs/kdi-client.md', import.meta.url), 'utf8');
  const section = docs.slice(docs.indexOf('## The budget'), docs.indexOf('## Limits worth knowing'));

  it('are all explained', async () => {
    const clock = new VirtualClock();
    const hooks = { announceStream() {}, announceKeys() {}, dropKeys() {}, closeStream() {} };
    const source = new FakeSource(clock);
    const pool = new DrawerPool({ source, peerSaeId: 'siteB', clock, random: () => 0.5, hooks });
    const budget = new KeyBudget({ reserveFloor: 1, services: { db: {} } });
    const store = new AnswererStore({ clock });
    const shown = [
      pool.status(),
      pool.status().totals,
      budget.numbers(pool.stock()),
      budget.numbers(pool.stock()).services.db ?? {},
      store.status(),
      store.status().totals,
    ];
    const names = new Set([
      ...shown.flatMap((numbers) => Object.keys(numbers)),
      'exhaustedInMs',
      'lastErrorCode',
      'lastError',
    ]);
    await pool.close();
    store.close();
    expect([...names].filter((name) => !PLAIN.includes(name) && !section.includes(`\`${name}\``))).to.deep.equal([]);
  });
});
