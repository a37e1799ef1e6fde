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

const answerer: readonly Explained[] = [
  {
    file: 'kdi-client/pool/answerer.ts',
    line: 'if (!fetch.dropped) this.#endFetch(fetch, false);',
    why: 'one that was dropped is gone already, and its name is refused from then on, or its stream has ended; nothing asks of a fetch that is over whether it was dropped',
  },
  {
    file: 'kdi-client/pool/answerer.ts',
    line: 'this.#endFetch(fetch, false);',
    replacement: 'true',
    why: 'nothing asks of a fetch that is over whether it was dropped',
  },
  {
    file: 'kdi-client/pool/answerer.ts',
    line: 'if (!mayComeLater || clock.now() + delayMs > fetch.deadlineMs) {',
    replacement: 'clock.now() + delayMs >= fetch.deadlineMs',
    why: 'one try more or less at the very end',
  },
  {
    file: 'kdi-client/pool/answerer.ts',
    line: "if (reference.api !== 'etsi004' || hexOf(reference.ksid) !== id || fetch.dropped) continue;",
    replacement: 'false',
    why: 'of the first part, for the compiler: a source has one API',
  },
  {
    file: 'kdi-client/pool/answerer.ts',
    line: 'const { keyChunkSizeBytes } = (lookup?.announcement ?? announcement).qos;',
    replacement: 'lookup.announcement',
    why: 'for the compiler: it is said of open streams',
  },
];

const drawerStreams: readonly Explained[] = [
  {
    file: 'kdi-client/pool/drawer-streams.ts',
    line: 'if (this.#current === stream) this.#current = undefined;',
    replacement: 'true',
    why: 'one stream is opened at a time: where it was given up meanwhile there is no other yet',
  },
];

const PROCESS_LOCK = 'kdi-client/ledger/process-lock.ts';
const NO_PROC = 'only where the system has no /proc; and these tests run on one that has it';

const processLock: readonly Explained[] = [
  {
    file: PROCESS_LOCK,
    line: 'if (made) await rm(lockPath(path, self), { force: true });',
    why: 'one that was there before is made again by the next try, which looks for others as this one did; what is removed was made just now',
  },
  {
    file: PROCESS_LOCK,
    line: "if (!Number.isInteger(pid) || pid <= 0) return '';",
    replacement: '"Stryker was here!"',
    why: 'no lock has that name either',
  },
  {
    file: PROCESS_LOCK,
    line: "readFile('/proc/sys/kernel/random/boot_id', 'utf8'),",
    why: 'bytes become the same text in the name',
  },
  {
    file: PROCESS_LOCK,
    line: '} catch {',
    why: NO_PROC,
  },
  {
    file: PROCESS_LOCK,
    line: "return isRunning(pid) ? String(pid) : '';",
    why: NO_PROC,
  },
  {
    file: PROCESS_LOCK,
    line: 'function isRunning(pid: number): boolean {',
    why: NO_PROC,
  },
  {
    file: PROCESS_LOCK,
    line: 'try {',
    replacement: '{}',
    why: NO_PROC,
  },
  {
    file: PROCESS_LOCK,
    line: '} catch (error) {',
    replacement: '{}',
    why: NO_PROC,
  },
  {
    file: PROCESS_LOCK,
    line: 'return true;',
    why: NO_PROC,
  },
  {
    file: PROCESS_LOCK,
    line: "return (error as NodeJS.ErrnoException).code === 'EPERM';",
    why: NO_PROC,
  },
];

export const kdiClient: readonly Explained[] = [
  ...failover,
  ...answerer,
  ...answererStore,
  ...drawerStreams,
  ...processLock,
];
