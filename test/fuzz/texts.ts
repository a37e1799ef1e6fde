/** Targets that read text: JSON of key managers, configuration, addresses. */

import { CertError, parseCertificate } from '../../certs/index.ts';
import { KdiError, parseKmeUrl } from '../../kdi-client/index.ts';
import {
  parseEtsi014Error,
  parseEtsi014KeyContainer,
  parseEtsi014KeyIds,
  parseEtsi014KeyRequest,
  parseEtsi014Status,
  parseMetadata,
  parseSkipCapabilities,
  parseSkipEntropy,
  parseSkipKey,
} from '../../kdi-client/wire/index.ts';
import { isConfigError } from '../../proxy/config/config-error.ts';
import { parseAddress, parseConfig } from '../../proxy/config/index.ts';
import { DecodeError, utf8 } from '../../tls-ext/bytes/index.ts';
import type { Target } from './fuzz.ts';

export const isKdiError = (error: unknown): error is KdiError => error instanceof KdiError;

function text(
  name: string,
  seeds: readonly string[],
  parse: (text: string) => unknown,
  expected: (error: unknown) => boolean,
): Target {
  return bytes(name, seeds.map(utf8), (input) => parse(Buffer.from(input).toString('utf8')), expected);
}

function bytes(
  name: string,
  seeds: readonly Uint8Array[],
  parse: (input: Uint8Array) => unknown,
  expected: (error: unknown) => boolean,
): Target {
  return {
    name,
    seeds: () => seeds,
    run: (input) => {
      try {
        parse(input);
      } catch (error) {
        if (!expected(error)) throw error;
      }
    },
  };
}

/** Text that is no JSON never reaches the readers. */
function json(name: string, seeds: readonly unknown[], parse: (value: unknown) => unknown): Target {
  const read = (source: string) => {
    let value: unknown;
    try {
      value = JSON.parse(source);
    } catch {
      return;
    }
    parse(value);
  };
  return text(
    name,
    seeds.map((seed) => JSON.stringify(seed)),
    read,
    (error) => error instanceof DecodeError,
  );
}

const id = '00112233-4455-4677-8899-aabbccddeeff';
const config =
  'mode: client\nservices:\n  - {name: db, accept: 5432, connect: "h:1", kme: "etsi004://k:1", sae: a, peer-sae: b}\n';

export const parsers: readonly Target[] = [
  json(
    'etsi014-status',
    [{ source_KME_ID: 'a', key_size: 256, stored_key_count: 1, max_key_count: 2 }],
    parseEtsi014Status,
  ),
  json('etsi014-key-request', [{ number: 1, size: 256 }], parseEtsi014KeyRequest),
  json('etsi014-key-container', [{ keys: [{ key_ID: id, key: 'AAAA' }] }], parseEtsi014KeyContainer),
  json('etsi014-key-ids', [{ key_IDs: [{ key_ID: id }] }], parseEtsi014KeyIds),
  json('etsi014-error', [{ message: 'no', details: [{ a: 'b' }] }], parseEtsi014Error),
  json(
    'skip-capabilities',
    [{ entropy: true, key: true, algorithm: 'qkd', localSystemID: 'a', remoteSystemID: ['b*'] }],
    parseSkipCapabilities,
  ),
  json('skip-key', [{ keyId: 'aabb', key: '00112233' }], parseSkipKey),
  json('skip-entropy', [{ randomStr: '00ff', minentropy: 8 }], parseSkipEntropy),
  bytes(
    'etsi004-metadata',
    [utf8('{"age":1,"hops":0,"simulated":true}')],
    parseMetadata,
    (error) => error instanceof DecodeError,
  ),
  text('kme-url', ['etsi004://h:1?dialect=qubip', 'etsi014://[::1]/p', 'skip://h'], parseKmeUrl, isKdiError),
  text('address', ['h:1', '443', '[::1]:2', 'unix:/a'], parseAddress, (error) => error instanceof RangeError),
  text('config', [config], (source) => parseConfig(source, '/nowhere/qstunnel.yaml'), isConfigError),
  bytes(
    'certificate-der',
    [Uint8Array.of(0x30, 6, 0x30, 4, 0xa0, 2, 2, 0)],
    parseCertificate,
    (error) => error instanceof CertError,
  ),
];
