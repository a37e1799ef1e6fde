import { expect } from 'chai';
import {
  type Chunk,
  ChunkCache,
  MAX_CACHED_CHUNKS,
  MAX_CACHED_KEYS,
  MAX_CACHED_MS,
} from '../../../kdi-client/etsi004/chunk-cache.ts';
import { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

describe('kdi-client/etsi004/chunk-cache', () => {
  let clock: VirtualClock;
  let cache: ChunkCache;
  let secrets: SecretBytes[];

  const chunk = (index: number, keys = 1, expiresAtMs?: number): Chunk => {
    const made = Array.from({ length: keys }, () => new SecretBytes(new Uint8Array(32).fill(7)));
    secrets.push(...made);
    return { index, keys: made, metadata: { kme: 'kme' }, ...(expiresAtMs === undefined ? {} : { expiresAtMs }) };
  };
  const wiped = (): number => secrets.filter((secret) => secret.wiped).length;

  beforeEach(() => {
    clock = new VirtualClock();
    cache = new ChunkCache(clock);
    secrets = [];
  });
  afterEach(() => {
    cache.clear();
    expect(clock.pending, 'timers left').to.equal(0);
  });

  it('gives each key once, to an owner who wipes it', () => {
    cache.put(chunk(3, 2));
    const taken = cache.take(3, 1);
    expect(taken?.secret).to.equal(secrets[1]);
    expect(cache.take(3, 1)).to.equal(undefined);
    expect(cache.take(3, 2), 'no such slice').to.equal(undefined);
    expect(cache.size).to.equal(1);
    cache.clear();
    expect(secrets.map((secret) => secret.wiped)).to.deep.equal([true, false]);
  });

  it('keeps no more chunks, and no more keys, than it may: the oldest go, wiped', () => {
    for (let index = 0; index <= MAX_CACHED_CHUNKS; index++) cache.put(chunk(index));
    expect([wiped(), cache.has(0), cache.has(1), cache.size]).to.deep.equal([1, false, true, MAX_CACHED_CHUNKS]);
    cache.put(chunk(100, MAX_CACHED_KEYS));
    expect([cache.size, wiped()]).to.deep.equal([MAX_CACHED_KEYS, MAX_CACHED_CHUNKS + 1]);
    // The newest one is what somebody asks for now.
    cache.put(chunk(101, MAX_CACHED_KEYS + 1));
    expect([cache.has(100), cache.has(101)]).to.deep.equal([false, true]);
  });

  it('wipes what nobody asks for, at its age, or at the end of its TTL if that comes first', async () => {
    cache.put(chunk(0));
    cache.put(chunk(1, 1, clock.now() + 1_000));
    await clock.advance(MAX_CACHED_MS - 1);
    cache.put(chunk(2));
    expect(secrets.map((secret) => secret.wiped)).to.deep.equal([false, true, false]);
    await clock.advance(1);
    expect(secrets.map((secret) => secret.wiped)).to.deep.equal([true, true, false]);
    await clock.advance(MAX_CACHED_MS);
    expect([wiped(), cache.size]).to.deep.equal([3, 0]);
  });

  it('a chunk that comes again replaces the first, wiped', () => {
    cache.put(chunk(0));
    cache.put(chunk(0));
    expect(secrets.map((secret) => secret.wiped)).to.deep.equal([true, false]);
    expect(cache.size).to.equal(1);
  });
});
