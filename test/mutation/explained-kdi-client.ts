/** Survivors of the clients of key managers, their pool and ledger, with their reasons. */
import type { Explained } from './explained.ts';

const failover: readonly Explained[] = [
  {
    file: 'kdi-client/failover/circuit-breaker.ts',
    line: '#trialRunning = false;',
    replacement: 'true',
    why: 'looked at only after it opened, for which an outcome was recorded, which sets it',
  },
  {
    file: 'kdi-client/failover/failover-source.ts',
    line: '...(stream.announcement === undefined ? {} : { announcement: stream.announcement }),',
    replacement: 'false',
    why: 'a field that is absent reads as one that is undefined',
  },
  {
    file: 'kdi-client/failover/failover-source.ts',
    line: 'const order: Member[] = [];',
    replacement: '["Stryker was here"]',
    why: 'what is no KME fails when it is asked, and the next one is',
  },
];

const answererStore: readonly Explained[] = [
  {
    file: 'kdi-client/pool/answerer-store.ts',
    line: 'return until !== undefined && until > this.#options.clock.now();',
    replacement: 'true',
    why: 'of the first half, for the compiler: `undefined` is not greater than a time',
  },
  {
    file: 'kdi-client/pool/answerer-store.ts',
    line: 'if (atMs > this.#sweepAtMs) return;',
    replacement: 'atMs >= this.#sweepAtMs',
    why: 'a timer for the same time is made anew',
  },
  {
    file: 'kdi-client/pool/answerer-store.ts',
    line: 'if (expiresAtMs > now) earliest = Math.min(earliest, expiresAtMs);',
    replacement: 'expiresAtMs >= now',
    why: 'a key that expires at this very moment is wiped a second later, as are others',
  },
  {
    file: 'kdi-client/pool/answerer-store.ts',
    line: "return slot.length <= HASH_CHARS ? slot : createHash('sha256').update(slot).digest('base64');",
    why: 'either name serves: memory',
  },
];

export const kdiClient: readonly Explained[] = [...failover, ...answererStore];
