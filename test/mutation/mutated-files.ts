/** Which files are mutated, and the tests that are meant to hold each in place: quick ones first, since one that fails is enough. */

export interface MutatedFile {
  readonly file: string;
  /** Test files, or folders of them. */
  readonly tests: readonly string[];
}

const record = ['test/tls-ext/record'];
const keySchedule = ['test/tls-ext/key-schedule'];
// Without lossy.test.ts, rekey-interleavings.test.ts and matrix.test.ts: seconds for each mutant that they reach.
const keyChannel = [
  'answerer',
  'drawer',
  'both-ends',
  'both-ends-restarts',
  'cases',
  'greeting',
  'peer-faults',
  'check-value',
  'messages',
].map((name) => `test/tls-ext/key-channel/${name}.test.ts`);
const engine = [
  'connection',
  'outgoing',
  'endpoint',
  'rekey',
  'rekey-closing',
  'tickets',
  'psk',
  'handshake',
  'settings',
  'aead-limit',
  'rfc8448',
];
const handshake = [
  'test/tls-ext/handshake',
  ...engine.map((name) => `test/tls-ext/engine/${name}.test.ts`),
  'test/tls-ext/misbehaving/after-close.test.ts',
  'test/tls-ext/misbehaving/attacks.test.ts',
  'test/tls-ext/misbehaving/misbehaving.test.ts',
];

// With the rest of the folder Stryker's first run does not end; by mocha alone it does.
const doctor = (api: string) => [`test/kdi-client/doctor/every-check-${api}.test.ts`];

const inFolder = (folder: string, tests: readonly string[], ...names: readonly string[]): MutatedFile[] =>
  names.map((name) => ({ file: `${folder}/${name}.ts`, tests }));

const pool = [
  ...[
    'drawer-pool',
    'drawer-pool-chunks',
    'drawer-pool-peer',
    'drawer-pool-streams',
    'budget',
    'key-queue',
    'reference-name',
    'answerer',
    'answerer-ends',
    'answerer-store',
    'watermarks',
  ].map((name) => `test/kdi-client/pool/${name}.test.ts`),
  'test/kdi-client/ledger/ledger.test.ts',
  'test/kdi-client/failover',
  'test/kdi-client/pool/two-sides.test.ts',
];

export const mutatedFiles: readonly MutatedFile[] = [
  ...inFolder('tls-ext/key-schedule', keySchedule, 'key-schedule', 'importer', 'finished', 'exporter', 'traffic-keys'),
  ...inFolder('tls-ext/record', record, 'half-connection', 'record-reader', 'record-writer', 'record-bytes'),
  ...inFolder(
    'tls-ext/key-channel',
    keyChannel,
    'answerer',
    'answerer-intake',
    'answerer-records',
    'channel-connection',
    'check-value',
    'drawer',
    'drawer-health',
    'drawer-outbox',
    'drawer-records',
    'framing',
    'message-codec',
  ),
  ...inFolder(
    'tls-ext/handshake',
    handshake,
    'server-psk',
    'server-handshake',
    'server-retry',
    'server-negotiation',
    'client-handshake',
    'client-offer',
    'authentication',
    'finished',
    'key-changes',
    'post-handshake',
    'epoch',
    'message-allowance',
    'rekey',
    'rekeying',
    'tickets',
    'qkd-import',
    'reassembler',
    'steps',
  ),
  { file: 'tls-ext/tls-endpoint.ts', tests: handshake },
  { file: 'tls-ext/outgoing.ts', tests: handshake },
  ...inFolder('kdi-client/ledger', ['test/kdi-client/ledger'], 'spent-ledger', 'file-ledger', 'process-lock'),
  ...inFolder(
    'kdi-client/pool',
    pool,
    'drawer-keys',
    'drawer-pool',
    'drawer-streams',
    'key-queue',
    'take-queue',
    'refill',
    'budget',
    'depth',
    'watermarks',
    'supply-health',
    'answerer',
    'answerer-store',
    'peer-kme',
    'reference-name',
    'backoff',
    'write-down',
  ),
  ...inFolder(
    'kdi-client/doctor',
    doctor('004'),
    'etsi004-exam',
    'etsi004-keys',
    'etsi004-metadata-check',
    'etsi004-quirks',
  ),
  ...inFolder('kdi-client/doctor', doctor('014'), 'etsi014-calls', 'etsi014-exam', 'etsi014-lookups'),
  ...inFolder('kdi-client/doctor', doctor('skip'), 'skip-exam'),
  ...inFolder('kdi-client/failover', pool, 'circuit-breaker', 'failover-source', 'failover-lookup', 'member'),
];
