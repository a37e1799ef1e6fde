import { createHash } from 'node:crypto';
import { expect } from 'chai';
import {
  type KdiErrorCode as Code,
  DrawerPool,
  Etsi004Source,
  KdiErrorCode,
  type KeyToAnnounce,
  parseKmeUrl,
  referenceText,
} from '../../kdi-client/index.ts';
import { type FaultyKme, faultyKme, type KmeFault } from './faulty-kme.ts';
import { testPki } from './support/test-pki.ts';
import { settle, VirtualClock } from './support/virtual-clock.ts';

const keyAt = (ksid: string, index: number): Uint8Array =>
  Uint8Array.from(createHash('sha256').update(`${ksid}:${index}`).digest());

/** Real sockets move while virtual time stands: turns the loop until `done`. */
async function until(done: () => boolean): Promise<void> {
  while (!done()) await settle();
}

describe('kdi-client: a pool over a faulty 004 key manager', () => {
  const faults: readonly (readonly [name: string, fault: KmeFault, code: Code])[] = [
    ['resets before the reply', { fault: 'reset', afterBytes: 0 }, KdiErrorCode.closed],
    ['resets in the header', { fault: 'reset', afterBytes: 5 }, KdiErrorCode.closed],
    ['resets in the key', { fault: 'reset', afterBytes: 30 }, KdiErrorCode.closed],
    ['answers garbage', { fault: 'garbage', bytes: Buffer.from('HTTP/1.1 200 OK\r\n\r\n') }, KdiErrorCode.malformed],
    ['is empty', { fault: 'status', status: 2 }, KdiErrorCode.insufficientKey],
    ['denies the connection', { fault: 'status', status: 4 }, KdiErrorCode.noQkdConnection],
    ['answers an unknown status', { fault: 'status', status: 77 }, KdiErrorCode.unknownStatus],
    ['repeats an index', { fault: 'repeat-index' }, KdiErrorCode.duplicateKey],
    ['sends without end', { fault: 'endless' }, KdiErrorCode.malformed],
    ['hangs', { fault: 'hang' }, KdiErrorCode.timeout],
  ];
  for (const [name, fault, code] of faults) {
    it(`${name}: ${code}; it recovers, uses no key twice, and leaks nothing`, async () => {
      const pki = await testPki();
      const kme: FaultyKme = await faultyKme(pki, keyAt);
      const clock = new VirtualClock();
      const source = new Etsi004Source({
        address: parseKmeUrl(`etsi004://127.0.0.1:${kme.port}`),
        tls: { cert: pki.sae.cert, key: pki.sae.key, ca: pki.ca },
        saeId: 'siteA',
        clock,
      });
      const announced: string[] = [];
      const errors: Code[] = [];
      const pool = new DrawerPool({
        source,
        peerSaeId: 'siteB',
        clock,
        random: () => 0.5,
        hooks: {
          announceStream: ({ ksid }) => queueMicrotask(() => pool.streamOpened(ksid)),
          announceKeys: (keys: readonly KeyToAnnounce[]) => {
            for (const { reference } of keys) {
              announced.push(referenceText(reference));
              queueMicrotask(() => pool.markReady(reference));
            }
          },
          dropKeys: () => {},
          closeStream: () => {},
          onEvent: (event) => {
            if (event.type === 'failure') errors.push(event.error.code);
          },
        },
      });
      try {
        pool.channelUp(new Uint8Array(16), 100);
        await until(() => pool.status().ready === 4);
        kme.fail(fault);
        const before = kme.connections;
        const first = pool.take();
        if (first.ok) first.lease.commit();
        await until(() => kme.connections > before);
        if (fault.fault === 'hang') {
          // The request is on its way; time passes only when it has arrived.
          for (let i = 0; i < 50; i++) await settle();
          await clock.advance(10_000);
        }
        await until(() => errors.length > 0);
        expect(errors[0]).to.equal(code);
        expect(pool.take().ok, 'agreed keys are given out meanwhile').to.equal(true);
        kme.fail(undefined);
        while (pool.status().ready < 4) {
          await clock.advance(1_000);
          for (let i = 0; i < 10; i++) await settle();
        }
        expect(new Set(announced).size, 'announced twice').to.equal(announced.length);
      } finally {
        await pool.close();
        await source.close();
        await until(() => kme.open === 0);
        await kme.close();
      }
      expect(clock.pending, 'timers left').to.equal(0);
      expect(kme.streams, 'streams left at the KME').to.be.at.most(1);
    });
  }
});
