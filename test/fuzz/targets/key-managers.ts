/** What a key manager says, in every API; and the ledger's file, which another process may have left in any state. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { FileLedger, KdiError, parseKmeUrl } from '../../../kdi-client/index.ts';
import {
  decodeRequest,
  decodeResponse,
  type Etsi004Dialect,
  type Etsi004Qos,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Splitter,
  encodeMetadata,
  encodeRequest,
  encodeResponse,
  parseEtsi014Error,
  parseEtsi014KeyContainer,
  parseEtsi014KeyIds,
  parseEtsi014KeyRequest,
  parseEtsi014Status,
  parseMetadata,
  parseSkipCapabilities,
  parseSkipEntropy,
  parseSkipKey,
} from '../../../kdi-client/wire/index.ts';
import { parseStrictJson } from '../../../kdi-client/wire/strict-json.ts';
import { concatBytes, DecodeError, utf8 } from '../../../tls-ext/bytes/index.ts';
import { splitWhole } from '../../kdi-client/support/split-whole.ts';
import { scratchFolder } from '../scratch.ts';
import type { Target } from '../target.ts';
import { codec, decoder, freshOf, json, outcomeOf, samples, text } from './codec.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const bytes = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((value) => Uint8Array.from(value));
const ksid = bytes(16, 16);
const qos: fc.Arbitrary<Etsi004Qos> = fc.record({
  keyChunkSizeBytes: fc.integer({ min: 1, max: 4_096 }),
  maxBps: u32,
  minBps: u32,
  jitterBps: u32,
  priority: u32,
  timeoutMs: u32,
  ttlSeconds: u32,
  metadataMimetype: fc.constantFrom('', 'application/json'),
});
const uri = fc.constantFrom('qkd://a', 'qkd://b@c:1/d?e=f', 'x');

const request: fc.Arbitrary<Etsi004Request> = fc.oneof(
  fc.record({ service: fc.constant('open-connect' as const), source: uri, destination: uri, qos, ksid }),
  fc.record({
    service: fc.constant('get-key' as const),
    ksid,
    index: u32,
    metadataSize: fc.integer({ min: 0, max: 300 }),
  }),
  fc.record({ service: fc.constant('close' as const), ksid }),
);

const response: fc.Arbitrary<Etsi004Response> = fc.oneof(
  fc.record({
    service: fc.constant('open-connect' as const),
    status: fc.constant(0 as const),
    stream: fc.record({ qos, ksid }),
  }),
  fc.record({
    service: fc.constant('get-key' as const),
    status: fc.constant(0 as const),
    delivery: fc.record({ index: u32, key: bytes(1, 64), metadata: bytes(0, 60) }),
  }),
  fc.record({ service: fc.constant('get-key' as const), status: fc.constantFrom(2 as const, 3 as const) }),
  fc.record({ service: fc.constant('get-key' as const), status: fc.constant(8 as const), metadataSizeNeeded: u32 }),
  fc.record({ service: fc.constant('close' as const), status: fc.constant(0 as const) }),
) as fc.Arbitrary<Etsi004Response>;

const dialects = ['etsi', 'qubip'] as const satisfies readonly Etsi004Dialect[];

function oneFrame(direction: 'requests' | 'responses', dialect: Etsi004Dialect, input: Uint8Array) {
  const [frame, ...others] = splitWhole(direction, input);
  if (frame === undefined || others.length > 0 || frame.dialect !== dialect) throw new DecodeError('not one frame');
  return frame;
}

const messages004 = dialects.flatMap((dialect) => [
  codec(
    `etsi004-requests-${dialect}`,
    ['decodeRequest', 'decodeRequestPayload'],
    request,
    (value) => encodeRequest(dialect, value),
    (input) => decodeRequest(oneFrame('requests', dialect, input)),
  ),
  codec(
    `etsi004-responses-${dialect}`,
    ['decodeResponse', 'decodeResponsePayload'],
    response,
    (value) => encodeResponse(dialect, value),
    (input) => decodeResponse(oneFrame('responses', dialect, input)),
  ),
]);

/** The first byte says in which pieces the stream comes: it must make no difference. */
const stream004: Target = {
  name: 'etsi004-stream',
  covers: ['Etsi004Splitter'],
  seeds: () =>
    samples(fc.array(response, { minLength: 1, maxLength: 3 })).map((all, i) =>
      concatBytes(Uint8Array.of(i), ...all.map((one) => encodeResponse(dialects[i % 2] as Etsi004Dialect, one))),
    ),
  fresh: freshOf(response, (value) => concatBytes(Uint8Array.of(1), encodeResponse('etsi', value))),
  run: (input) => {
    const pieceBytes = 1 + (input[0] ?? 0);
    const stream = input.subarray(1);
    const inPieces = new Etsi004Splitter('responses');
    const atOnce = new Etsi004Splitter('responses');
    const frames: string[] = [];
    const outcome = outcomeOf(() => {
      for (let at = 0; at < stream.length; at += pieceBytes) {
        for (const frame of inPieces.push(stream.subarray(at, at + pieceBytes))) frames.push(JSON.stringify(frame));
      }
    });
    const whole = outcomeOf(() => {
      for (const [i, frame] of atOnce.push(stream).entries()) {
        if (JSON.stringify(frame) !== frames[i]) throw new Error('pieces make a difference');
      }
    });
    if (outcome !== whole) throw new Error(`in pieces: ${outcome}, at once: ${whole}`);
    inPieces.wipe();
    return outcome;
  },
};

let ledgers = 0;

/** Any bytes as the file of a ledger: opened, or refused with a code; and what was spent stays spent. */
const ledger: Target = {
  name: 'ledger-file',
  covers: ['FileLedger'],
  seeds: () => {
    const name = (fill: number) => new Uint8Array(32).fill(fill);
    return [new Uint8Array(0), utf8('qstunnel-ledger1'), ...[1, 2].map((n) => ledgerBytes(n, name))];
  },
  run: async (input) => {
    const path = join(scratchFolder(), `ledger-${ledgers++ % 8}`);
    writeFileSync(path, input);
    let opened: FileLedger;
    try {
      opened = await FileLedger.open({ path, nowMs: () => 1_000 });
    } catch (error) {
      if (error instanceof KdiError) return error.message.replace(path, '');
      throw error;
    }
    const id = new Uint8Array(32).fill(9);
    const [first] = await opened.spend([id]);
    const [second] = await opened.spend([id]);
    await opened.close();
    if (second) throw new Error('spent twice');
    return first ? 'opened' : 'known';
  },
};

/** A ledger of `count` records, as our own code writes it. */
function ledgerBytes(count: number, name: (fill: number) => Uint8Array): Uint8Array {
  const records = Array.from({ length: count }, (_, i) => {
    const expiry = new Uint8Array(8);
    new DataView(expiry.buffer).setBigUint64(0, 2n ** 40n);
    const content = concatBytes(name(i), expiry);
    return concatBytes(content, createHash('sha256').update(content).digest().subarray(0, 4));
  });
  return concatBytes(utf8('qstunnel-ledger1'), ...records);
}

const id = '00112233-4455-4677-8899-aabbccddeeff';

export const keyManagerTargets: readonly Target[] = [
  ...messages004,
  stream004,
  json(
    'etsi014-status',
    ['parseEtsi014Status'],
    [
      {
        source_KME_ID: 'a',
        target_KME_ID: 'b',
        master_SAE_ID: 'c',
        slave_SAE_ID: 'd',
        key_size: 256,
        stored_key_count: 1,
        max_key_count: 2,
        max_key_per_request: 3,
        max_key_size: 1024,
        min_key_size: 64,
        max_SAE_ID_count: 0,
        status_extension: {},
      },
    ],
    parseEtsi014Status,
  ),
  json(
    'etsi014-key-request',
    ['parseEtsi014KeyRequest'],
    [
      {
        number: 1,
        size: 256,
        additional_slave_SAE_IDs: ['e'],
        extension_mandatory: [{ a: 1 }],
        extension_optional: [{ b: 2 }],
      },
    ],
    parseEtsi014KeyRequest,
  ),
  json(
    'etsi014-key-container',
    ['parseEtsi014KeyContainer'],
    [{ keys: [{ key_ID: id, key: 'AAAA', key_ID_extension: {} }], key_container_extension: {} }],
    parseEtsi014KeyContainer,
  ),
  json('etsi014-key-ids', ['parseEtsi014KeyIds'], [{ key_IDs: [{ key_ID: id }] }], parseEtsi014KeyIds),
  json('etsi014-error', ['parseEtsi014Error'], [{ message: 'no', details: [{ a: 'b' }] }], parseEtsi014Error),
  json(
    'skip-capabilities',
    ['parseSkipCapabilities'],
    [{ entropy: true, key: true, algorithm: 'qkd', localSystemID: 'a', remoteSystemID: ['b*'] }],
    parseSkipCapabilities,
  ),
  json('skip-key', ['parseSkipKey'], [{ keyId: 'aabb', key: '00112233' }], parseSkipKey),
  json('skip-entropy', ['parseSkipEntropy'], [{ randomStr: '00ff', minentropy: 8 }], parseSkipEntropy),
  decoder(
    'strict-json',
    ['parseStrictJson'],
    () => ['{"a":[1,{"b":"\\u0041"}],"c":null}', '[[[[]]]]', '{"a":1,"a":2}', '"\\"{["'].map(utf8),
    (input) => {
      const value = parseStrictJson(input);
      if (JSON.stringify(value) !== JSON.stringify(JSON.parse(Buffer.from(input).toString('utf8')))) {
        throw new Error('read as something else');
      }
    },
  ),
  decoder(
    'etsi004-metadata',
    ['parseMetadata'],
    () => [utf8('{"age":1,"hops":0,"simulated":true}'), encodeMetadata({ ageMs: 5, hops: 1 } as never)],
    parseMetadata,
  ),
  text(
    'kme-url',
    ['parseKmeUrl'],
    ['etsi004://h:1?dialect=qubip', 'etsi014://[::1]/p', 'skip://h'],
    parseKmeUrl,
    undefined,
    ['etsi004://', 'etsi014://', 'skip://', 'https://', '[::1]', '?dialect=', '#', '@', '%00', ':65536'],
  ),
  ledger,
];
