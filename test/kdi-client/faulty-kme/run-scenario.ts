import { expect } from 'chai';
import type { KeyLease } from '../../../kdi-client/index.ts';
import type { Scenario } from './scenarios.ts';
import { HIGH_WATERMARK, TwoSites, type TwoSitesOptions } from './two-sites.ts';

/** What a handshake is ready to wait for a key. */
const HANDSHAKE_WAIT_MS = 2_000;
/** Longest that recovery may take: back-off included, and a look-up's deadline. */
const RECOVERY_MS = 300_000;
/** More than any reply that is taken, and what sockets buffer. */
const MAX_BYTES_TAKEN = 16 * 2 ** 20;

/**
 * Good times, the fault at one side, good times again; and after all that: no
 * key used twice, none lost that the key manager still holds by right, an
 * answer to every handshake within its deadline, no endless reply taken in,
 * no socket and no timer left.
 */
export async function runScenario(options: TwoSitesOptions, side: 'a' | 'b', scenario: Scenario): Promise<void> {
  const sites = await TwoSites.start(options);
  const kme = sites.kme(side);
  const { fault, calls = 'key', codes, condemns = false } = scenario;
  try {
    let unfinished: KeyLease[] = [];
    if (calls === 'open') {
      kme.fail(fault, calls);
      sites.begin();
    } else {
      sites.begin();
      await sites.healthy(10_000);
      kme.fail(fault, calls);
      // Kept connections would not meet what happens to new ones.
      if (fault.fault === 'slam' || fault.fault === 'mute') await breakConnections(sites, side);
      unfinished = await takeAll(sites, condemns);
    }
    const reported = (): boolean => codes.length === 0 || sites.errors[side].length > 0;
    await sites.until(() => kme.struck > 0 && reported(), 60_000, 'the fault');
    if (codes.length > 0) expect(codes).to.include(sites.errors[side][0]?.code);
    const waited = await sites.take(HANDSHAKE_WAIT_MS);
    if (waited !== undefined) unfinished.push(waited);
    expect(kme.bytesSent, 'bytes taken').to.be.at.most(MAX_BYTES_TAKEN);

    kme.fail(undefined);
    for (const lease of unfinished) {
      lease.secret.wipe();
      lease.release();
    }
    await sites.healthy(RECOVERY_MS);
    const before = sites.used;
    for (let i = 0; i < HIGH_WATERMARK; i++) {
      const lease = await sites.take(HANDSHAKE_WAIT_MS);
      expect(lease, 'a key after recovery').to.not.equal(undefined);
      await sites.complete(lease!);
    }
    expect(sites.used - before).to.equal(HIGH_WATERMARK);
    await sites.healthy(RECOVERY_MS);
    if (!condemns) expect(sites.leftBehind, 'keys left at the key manager').to.deep.equal([]);
  } finally {
    await sites.end();
  }
}

/** As a load balancer would: the listener stays. */
export async function breakConnections(sites: TwoSites, side: 'a' | 'b'): Promise<void> {
  sites.kme(side).dropConnections();
  await sites.until(() => sites.kme(side).open === 0, 1_000, 'the end of all connections');
}

/** Takes every key there is: two are used, the others' handshakes don't finish. */
async function takeAll(sites: TwoSites, condemns: boolean): Promise<KeyLease[]> {
  const unfinished: KeyLease[] = [];
  for (let i = 0; i < HIGH_WATERMARK; i++) {
    const lease = await sites.take(HANDSHAKE_WAIT_MS);
    // A stream that is caught giving wrong keys takes the good ones with it.
    if (lease === undefined && condemns) break;
    expect(lease, 'keys in hand are given out').to.not.equal(undefined);
    if (i < 2) await sites.complete(lease!);
    else unfinished.push(lease!);
  }
  return unfinished;
}
