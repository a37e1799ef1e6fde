import { expect } from 'chai';
import {
  type AdmissionRequest,
  DepthPolicy,
  exhaustionMs,
  KeyBudget,
  type KeyStock,
  RateEstimate,
} from '../../../kdi-client/index.ts';

/** A rate held for long enough to be seen whole. */
function steady(perSecond: number, seconds: number, record: (nowMs: number) => void): number {
  const stepMs = 1000 / perSecond;
  let nowMs = 0;
  for (; nowMs < 1000 * seconds; nowMs += stepMs) record(nowMs);
  return nowMs;
}

describe('kdi-client/pool/depth', () => {
  it('estimates a steady rate, and forgets it', () => {
    const rate = new RateEstimate(10_000);
    const nowMs = steady(5, 100, (now) => rate.record(now));
    expect(rate.perSecond(nowMs)).to.be.closeTo(5, 0.2);
    expect(rate.perSecond(nowMs + 10_000)).to.be.closeTo(5 / Math.E, 0.2);
    expect(new RateEstimate(1_000).perSecond(5)).to.equal(0);
  });

  it('is shallow without demand, covers what is seen, and respects the limit', () => {
    const policy = new DepthPolicy({ minAhead: 4, maxAhead: 64, coverMs: 10_000, memoryMs: 10_000 });
    expect(policy.depth(0)).to.deep.equal({ high: 4, low: 3 });
    let nowMs = steady(3, 100, (now) => policy.recordDemand(now));
    expect(policy.depth(nowMs).high).to.be.within(29, 32);
    expect(policy.depth(nowMs + 120_000).high).to.equal(4);
    nowMs = steady(100, 100, (now) => policy.recordDemand(now));
    expect(policy.depth(nowMs)).to.deep.equal({ high: 64, low: 48 });
    expect(new DepthPolicy({ minAhead: 1 }).depth(0)).to.deep.equal({ high: 1, low: 0 });
  });

  it('is never empty, and its low mark is below the high one', () => {
    expect(new DepthPolicy({ minAhead: 0 }).depth(0)).to.deep.equal({ high: 1, low: 0 });
    expect(new DepthPolicy({ minAhead: 3 }).depth(0)).to.deep.equal({ high: 3, low: 2 });
  });

  it('follows the supply, several keys at a time', () => {
    const policy = new DepthPolicy({ memoryMs: 10_000 });
    const nowMs = steady(2, 100, (now) => policy.recordSupply(now, 5));
    expect(policy.supplyPerSecond(nowMs)).to.be.closeTo(10, 0.6);
    expect(policy.demandPerSecond(nowMs)).to.equal(0);
  });

  it('projects exhaustion only where there is a loss', () => {
    expect(exhaustionMs(100, 6, 4)).to.equal(50_000);
    expect(exhaustionMs(100, 4, 4)).to.equal(undefined);
  });
});

describe('kdi-client/pool/budget', () => {
  const budget = () =>
    new KeyBudget({
      reserveFloor: 4,
      services: { db: { priority: 'high', weight: 3 }, web: {}, backup: { priority: 'low' } },
    });
  const stock = (ready: number, demandPerSecond = 10, supplyPerSecond = 4): KeyStock => ({
    nowMs: 0,
    ready,
    highWatermark: 40,
    demandPerSecond,
    supplyPerSecond,
  });
  const ask = (service: string, request: Partial<AdmissionRequest> = {}): AdmissionRequest => ({
    service,
    purpose: 'handshake',
    hasTicket: false,
    keyRequired: false,
    ...request,
  });

  it('gives everyone a key while there are enough', () => {
    for (const service of ['db', 'web', 'backup', 'unknown']) {
      expect(budget().admit(ask(service, { hasTicket: true }), stock(40))).to.equal('key');
      expect(budget().admit(ask(service), stock(10, 3, 4)), 'little, but it grows').to.equal('key');
    }
  });

  it('when scarce: tickets first, then priorities from the top, and the floor for rekeys only', () => {
    const admissions = (ready: number) =>
      ['db', 'web', 'backup'].map((service) => budget().admit(ask(service), stock(ready)));
    expect(budget().admit(ask('db', { hasTicket: true }), stock(20))).to.equal('ticket');
    expect(admissions(20)).to.deep.equal(['key', 'key', 'key']);
    expect(admissions(10)).to.deep.equal(['key', 'key', 'fallback']);
    expect(admissions(6)).to.deep.equal(['key', 'fallback', 'fallback']);
    expect(admissions(4)).to.deep.equal(['fallback', 'fallback', 'fallback']);
    expect(budget().admit(ask('db', { keyRequired: true }), stock(4))).to.equal('wait');
    expect(budget().admit(ask('db', { purpose: 'rekey' }), stock(1))).to.equal('key');
    expect(budget().admit(ask('db', { purpose: 'rekey' }), stock(0))).to.equal('wait');
  });

  it('when scarce: a service above its share of the supply stands back for the others', () => {
    const shared = budget();
    const nowMs = steady(2, 300, (now) => {
      shared.recordUse('db', now);
      shared.recordUse('web', now);
    });
    const now = { ...stock(18), nowMs };
    // Supply 4 a second: db may use 3, web 1; both use 2.
    expect(shared.admit(ask('db'), now)).to.equal('key');
    expect(shared.admit(ask('web'), now)).to.equal('fallback');
    const { services, exhaustedInMs, scarce } = shared.numbers(now);
    expect(services.db!.sharePerSecond).to.be.closeTo(3, 0.01);
    expect(services.web!.usedPerSecond).to.be.closeTo(2, 0.1);
    expect(exhaustedInMs).to.be.closeTo((1000 * 14) / 6, 1);
    expect(scarce).to.equal(true);
    // Idle services' shares are the others'.
    expect(shared.numbers({ ...now, nowMs: nowMs + 3_600_000 }).services.web!.sharePerSecond).to.equal(4);
  });

  it('is scarce at the floor, or when it runs out within the horizon and is half empty already', () => {
    const scarce = (ready: number, demand = 10, supply = 4) => budget().numbers(stock(ready, demand, supply)).scarce;
    expect(scarce(4, 0, 100), 'at the floor').to.equal(true);
    expect(scarce(5, 0, 100), 'above it, with no loss').to.equal(false);
    expect(scarce(20), 'half full').to.equal(true);
    expect(scarce(21), 'more than half full').to.equal(false);
    // 16 keys above the floor at a loss of 16 in 60 s: the horizon itself is far enough.
    expect(scarce(20, 16 / 60 + 1, 1)).to.equal(false);
    expect(scarce(20, 16.1 / 60 + 1, 1)).to.equal(true);
    expect(budget().numbers(stock(20, 4, 4))).to.not.have.property('exhaustedInMs');
  });

  it('where no service has a priority or a weight, whoever comes first gets the key, down to the floor', () => {
    const plain = new KeyBudget({ reserveFloor: 4, services: { a: {}, b: {} } });
    steady(10, 60, (now) => plain.recordUse('a', now));
    expect([20, 5, 4].map((ready) => plain.admit(ask('a'), stock(ready)))).to.deep.equal(['key', 'key', 'fallback']);
    expect(Object.values(plain.numbers(stock(5)).services).map(({ priority }) => priority)).to.deep.equal([
      'normal',
      'normal',
    ]);
  });

  for (const [what, services] of [
    ['a weight', { a: { weight: 1 }, b: {} }],
    ['a priority', { a: { priority: 'normal' }, b: {} }],
  ] as const) {
    it(`where one service has ${what}, all have shares`, () => {
      const shared = new KeyBudget({ reserveFloor: 0, services });
      const nowMs = steady(10, 300, (now) => {
        shared.recordUse('a', now);
        shared.recordUse('b', now);
      });
      expect(shared.admit(ask('b'), { ...stock(15), nowMs })).to.equal('fallback');
    });
  }

  it('a service may use its share to the last key, and a priority the stock down to its own floor', () => {
    const shared = budget();
    // Nobody has used a key, and none comes: a use of 0 is within a share of 0.
    expect(shared.admit(ask('db'), stock(5, 10, 0))).to.equal('key');
    // Floors above 4, of 16 to the half: normal leaves a quarter, low a half.
    expect([9, 8].map((ready) => shared.admit(ask('web'), stock(ready)))).to.deep.equal(['key', 'fallback']);
    expect([13, 12].map((ready) => shared.admit(ask('backup'), stock(ready)))).to.deep.equal(['key', 'fallback']);
  });

  it('a service that the configuration does not name counts as one of weight 1 and normal priority', () => {
    const shared = budget();
    const nowMs = steady(2, 300, (now) => {
      shared.recordUse('db', now);
      shared.recordUse('unknown', now);
    });
    expect(shared.numbers({ ...stock(18), nowMs }).services.db!.sharePerSecond).to.be.closeTo(3, 0.01);
  });

  it("a single use counts for twice the memory, and then its share is the others'", () => {
    const shared = budget();
    shared.recordUse('web', 0);
    const shareOfDb = (nowMs: number) => shared.numbers({ ...stock(18), nowMs }).services.db!.sharePerSecond;
    expect(shareOfDb(119_999)).to.equal(3);
    expect(shareOfDb(120_001)).to.equal(4);
  });

  it('takes other services and another reserve in its course, and still knows what was used', () => {
    const shared = budget();
    const nowMs = steady(2, 300, (now) => shared.recordUse('web', now));
    shared.configure({ reserveFloor: 10, horizonMs: 1_000, services: { web: { weight: 2 } } });
    const numbers = shared.numbers({ ...stock(18), nowMs });
    expect(numbers).to.include({ reserveFloor: 10, scarce: false });
    expect(Object.keys(numbers.services)).to.deep.equal(['web']);
    expect(numbers.services.web!.usedPerSecond).to.be.closeTo(2, 0.1);
    expect(shared.admit(ask('db'), stock(10))).to.equal('fallback');
  });
});
