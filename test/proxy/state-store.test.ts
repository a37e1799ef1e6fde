import { expect } from 'chai';
import { downgradeMemory } from '../../proxy/downgrade-memory.ts';
import { InProcessStore } from '../../proxy/state-store.ts';
import { VirtualClock } from '../kdi-client/support/virtual-clock.ts';

describe('state store of one process', () => {
  const start = (maxEntries = 3) => {
    const clock = new VirtualClock();
    const removed: string[] = [];
    const store = new InProcessStore<string>({ clock, maxEntries, onRemoved: (value) => removed.push(value) });
    return { clock, removed, store };
  };

  it('keeps an entry until its end, and then says so', async () => {
    const { clock, removed, store } = start();
    await store.put('a', 'one', 60_000);
    await clock.advance(59_999);
    expect(await store.get('a')).to.equal('one');
    await clock.advance(1);
    expect(await store.get('a')).to.equal(undefined);
    expect(removed).to.deep.equal(['one']);
  });

  it('removes what has ended also when nobody asks, and leaves no timer behind', async () => {
    const { clock, removed, store } = start();
    await store.put('a', 'one', 1_000);
    await store.put('b', 'two', 15_000);
    await clock.advance(10_000);
    expect(removed).to.deep.equal(['one']);
    await clock.advance(10_000);
    expect(removed).to.deep.equal(['one', 'two']);
    expect(clock.pending).to.equal(0);
  });

  it('gives an entry that is taken to one caller alone', async () => {
    const { removed, store } = start();
    await store.put('a', 'one', 1_000);
    expect(await Promise.all([store.take('a'), store.take('a')])).to.deep.equal(['one', undefined]);
    expect(removed).to.deep.equal([]);
    store.close();
  });

  it('drops the oldest of more entries than its bound, and replaces one of the same key', async () => {
    const { removed, store } = start(2);
    await store.put('a', 'one', 1_000);
    await store.put('b', 'two', 1_000);
    await store.put('a', 'one again', 1_000);
    await store.put('c', 'three', 1_000);
    expect(removed).to.deep.equal(['one', 'two']);
    store.removeIf((value) => value === 'three');
    expect(await store.get('c')).to.equal(undefined);
    expect(store.size).to.equal(1);
    store.close();
    expect(removed).to.deep.equal(['one', 'two', 'three', 'one again']);
  });

  it('remembers peers by service, for as long as it was told', async () => {
    const clock = new VirtualClock();
    const store = new InProcessStore<true>({ clock, maxEntries: 9 });
    const [database, web] = [downgradeMemory(store, 'database', 1_000), downgradeMemory(store, 'web', 1_000)];
    await database.sawQkd('siteB');
    expect(await database.expectsQkd('siteB')).to.equal(true);
    expect(await database.expectsQkd('siteC')).to.equal(false);
    expect(await web.expectsQkd('siteB')).to.equal(false);
    await clock.advance(900);
    await database.sawQkd('siteB');
    await clock.advance(900);
    expect(await database.expectsQkd('siteB'), 'each time anew').to.equal(true);
    await clock.advance(100);
    expect(await database.expectsQkd('siteB')).to.equal(false);
    store.close();
  });
});
