import { createServer } from 'node:net';
import { expect } from 'chai';
import { createCa, issueLeaf } from '../../../certs/index.ts';
import { KdiErrorCode } from '../../../kdi-client/index.ts';
import { settle } from '../support/virtual-clock.ts';
import { VARIANTS } from './every-scenario.ts';
import { breakConnections } from './run-scenario.ts';
import { HIGH_WATERMARK, TwoSites, type TwoSitesOptions } from './two-sites.ts';

const DAY_MS = 86_400_000;

/** Two sites with a full pool, ended after `test` with nothing left. */
async function withSites(options: TwoSitesOptions, test: (sites: TwoSites) => Promise<void>): Promise<void> {
  const sites = await TwoSites.start(options);
  try {
    sites.begin();
    await sites.healthy(10_000);
    await test(sites);
  } finally {
    await sites.end();
  }
}

/** Uses `count` keys, one after the other. */
async function use(sites: TwoSites, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const lease = await sites.take(2_000);
    expect(lease, 'a key').to.not.equal(undefined);
    await sites.complete(lease!);
  }
}

describe('kdi-client: two sites over key managers that come and go', () => {
  for (const [api, query] of VARIANTS) {
    describe(`${api}${query}`, () => {
      for (const who of ['a', 'b', 'both'] as const) {
        for (const memory of [true, false]) {
          it(`${who === 'both' ? 'both restart' : `${who} restarts`} ${memory ? 'with' : 'without'} memory`, () =>
            withSites({ api, query }, async (sites) => {
              for (const side of ['a', 'b'] as const) {
                if (who === side || who === 'both') await sites.kme(side).restart({ memory });
              }
              // Agreed keys are good whatever happened to those who made them.
              await use(sites, HIGH_WATERMARK);
              // A key by its ID that the answerer's key manager forgot is looked for until the deadline: it may only be out of reach.
              await sites.healthy(who === 'a' || api === 'etsi004' ? 5_000 : 60_000);
              await use(sites, HIGH_WATERMARK);
              await sites.healthy(60_000);
              // What the answerer's key manager lost with its memory, and what hung on a stream that is gone.
              if (memory) expect(sites.leftBehind).to.deep.equal([]);
            }));
        }
      }

      it('one that was empty gives again', () =>
        withSites({ api, query }, async (sites) => {
          sites.model.available = 1;
          await use(sites, HIGH_WATERMARK);
          await use(sites, 1);
          expect(await sites.take(2_000)).to.equal(undefined);
          expect(sites.pool.status()).to.include({ reason: 'pool_empty', ready: 0 });
          sites.model.available = Number.POSITIVE_INFINITY;
          await sites.healthy(10_000);
          await use(sites, HIGH_WATERMARK);
          expect(sites.leftBehind.length).to.be.at.most(HIGH_WATERMARK);
        }));

      for (const side of ['a', 'b'] as const) {
        it(`${side}'s certificate expires, and is renewed`, () =>
          withSites({ api, query }, async (sites) => {
            const ca = await createCa({ commonName: 'Test CA', nowMs: Date.now() });
            const leaf = async (nowMs: number) => {
              const { certPem: cert, keyPem: key } = await issueLeaf(ca, 'kme', {
                commonName: 'kme-a',
                ipAddresses: ['127.0.0.1'],
                nowMs,
                validityDays: 1,
              });
              return { cert, key };
            };
            // Not trusted is not trusted, whether by its date or by its issuer.
            for (const identity of [await leaf(Date.now() - 3 * DAY_MS), sites.pki.stranger]) {
              sites.kme(side).useIdentity(identity);
              await breakConnections(sites, side);
              const before = sites.errors[side].length;
              await use(sites, 1);
              await sites.until(() => sites.errors[side].length > before, 60_000, 'a refusal');
              expect(sites.errors[side].at(-1)!.code).to.be.oneOf([KdiErrorCode.tls, KdiErrorCode.closed]);
              sites.kme(side).useIdentity(sites.pki.kme);
              await sites.healthy(180_000);
            }
            await use(sites, HIGH_WATERMARK);
            await sites.healthy(180_000);
            expect(sites.leftBehind).to.deep.equal([]);
          }));
      }
    });
  }

  for (const api of ['etsi014', 'skip'] as const) {
    for (const side of ['a', 'b'] as const) {
      it(`${api}: ${side} sends us elsewhere, and we don't go`, () =>
        withSites({ api }, async (sites) => {
          let visitors = 0;
          const elsewhere = createServer((socket) => {
            visitors++;
            socket.destroy();
          });
          await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
          try {
            const { port } = elsewhere.address() as { port: number };
            for (const status of [301, 302, 303, 307, 308]) {
              const before = sites.errors[side].length;
              sites.kme(side).fail({ fault: 'status', status, location: `https://127.0.0.1:${port}/` });
              await use(sites, 1);
              await sites.until(() => sites.errors[side].length > before, 60_000, 'a refusal');
              expect(sites.errors[side].at(-1)).to.include({ code: KdiErrorCode.http, httpStatus: status });
              sites.kme(side).fail(undefined);
              await sites.healthy(180_000);
            }
            await settle();
            expect(visitors).to.equal(0);
            expect(sites.leftBehind).to.deep.equal([]);
          } finally {
            await new Promise((resolve) => elsewhere.close(resolve));
          }
        }));
    }
  }
});
