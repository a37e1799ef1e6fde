/** What an operator writes. */
import { isConfigError } from '../../../proxy/config/config-error.ts';
import { parseAddress, parseConfig, parseDuration } from '../../../proxy/config/index.ts';
import { parseSize } from '../../../proxy/config/size.ts';
import type { Target } from '../target.ts';
import { text } from './codec.ts';

const config = `mode: client
services:
  - {name: db, accept: 5432, connect: "h:1", kme: "etsi004://k:1", sae: a, peer-sae: b}
`;
const server = `mode: server
defaults: {cert: a.pem, key: b.pem, ca: c.pem}
services:
  - name: web
    accept: 0.0.0.0:8443
    connect: 127.0.0.1:8080
    kme: etsi014://k
    sae: b
    peer-sae: [a, c]
    require: qkd
`;
const words = [
  'mode:',
  'services:',
  'defaults:',
  '- ',
  '{',
  '[',
  '&a ',
  '*a',
  '<<: ',
  '!!binary ',
  '? ',
  '|\n',
  '"\\x00"',
  '---\n',
  '...\n',
  '#',
  '\t',
];
const isRangeError = (error: unknown) => error instanceof RangeError;

export const configurationTargets: readonly Target[] = [
  text(
    'config',
    ['parseConfig'],
    [config, server],
    (source) => parseConfig(source, '/nowhere/q.yaml'),
    isConfigError,
    words,
  ),
  text('address', ['parseAddress'], ['h:1', '443', '[::1]:2', 'unix:/a'], parseAddress, isRangeError, [
    ':',
    'unix:',
    '[',
    ']',
  ]),
  text(
    'duration',
    ['parseDuration'],
    ['500ms', '5s', '10m', '2h', '1d'],
    (source) => {
      const ms = parseDuration(source);
      if (!Number.isSafeInteger(ms) || ms < 0) throw new Error(`a duration of ${ms}`);
    },
    isRangeError,
  ),
  text(
    'size',
    ['parseSize'],
    ['1B', '64KiB', '100MiB', '2GiB', '1TiB'],
    (source) => {
      const bytes = parseSize(source);
      if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Error(`a size of ${bytes}`);
    },
    isRangeError,
  ),
];
