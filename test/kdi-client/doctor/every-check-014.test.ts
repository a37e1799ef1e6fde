/** Each check of the doctor over 014 that can fail, or deserves to be read: the fault that makes it, and what is said of it. */
import type { KnownQuirks } from '../../../kdi-client/index.ts';
import type { HttpsAnswer } from '../support/https-kme.ts';
import { type Asked, declareFaults, type FaultRow, type SpoiltExamination } from './faulty-pair.ts';
import { ALONE, answers, FAST, type Fields, fields, honest, html, late, status, without } from './http-faults.ts';

const C014 = 'ETSI GS QKD 014 V1.1.1, ';
const NOT_FOUND = { message: 'one or more keys specified are not found on KME' };
const ZEROS = Buffer.alloc(32).toString('base64');

interface Container {
  readonly keys: readonly { readonly key_ID: string; readonly key: string }[];
}

function isContainer(reply: HttpsAnswer): reply is { readonly json: Container } {
  return (reply.json as Partial<Container> | undefined)?.keys !== undefined;
}

/** The keys of a container changed, and perhaps their number. */
const keys = (
  end: Asked['end'],
  what: string,
  nth: number | 'all',
  change: (key: Container['keys'][0]) => readonly Fields[],
) =>
  answers(end, what, nth, (reply) => {
    return isContainer(reply) ? { json: { ...reply.json, keys: reply.json.keys.flatMap(change) } } : reply;
  });
const drawn = (nth: number, change: Fields) => keys('own', 'enc_keys', nth, (key) => [{ ...key, ...change }]);
const found = (nth: number | 'all', change: Fields) => keys('peer', 'dec_keys', nth, (key) => [{ ...key, ...change }]);
const invented = { keys: [{ key_ID: '0190a1b2-0000-4000-8000-000000000000', key: ZEROS }] };
const knows = (known: KnownQuirks) => ({ known });
const quirk = (etsi014: Fields): SpoiltExamination => ({ pair: { settings: { quirks: { etsi014 } } } });

const ETSI014: readonly FaultRow[] = [
  [
    'refuses our certificate',
    status('own', 'status', 1, 401),
    'bad status',
    `${C014}5.2`,
    /certificate is not admitted/,
  ],
  ['does not know the peer', status('own', 'status', 1, 400), 'bad status', `${C014}5.2`, /check --peer-sae siteB/],
  [
    'does not know us at the peer',
    status('peer', 'status', 1, 400),
    'bad peer-status',
    `${C014}5.2`,
    /check --sae siteA/,
  ],
  [
    'has no such path',
    status('own', 'status', 1, 404),
    'bad status',
    `${C014}5.2`,
    /check --peer-sae siteB, and whether it serves another version/,
  ],
  [
    'is a web server',
    html('own', 'status', 1),
    'bad status',
    `${C014}6.1`,
    /not JSON; is it a KME, and the path prefix/,
  ],
  [
    'leaves a field out',
    without('status', 'max_key_size'),
    'bad status',
    `${C014}6.1`,
    /can't be read: .*max_key_size(?!.*is it a KME)/,
  ],
  [
    'allows no key in a request',
    fields('own', 'status', 1, { max_key_per_request: 0 }),
    'bad status',
    `${C014}6.1`,
    /allows no request at all/,
  ],
  [
    'sends JSON as text',
    answers('own', 'status', 1, (reply) => ({ ...reply, headers: { 'content-type': 'text/plain' } })),
    'note status',
    `${C014}6.1`,
    /content-type is 'text\/plain'/,
  ],
  ...['source_KME_ID', 'target_KME_ID'].map(
    (field): FaultRow => [
      'numbers its KMEs',
      fields('own', 'status', 1, { [field]: 7 }),
      'note status',
      `${C014}6.1`,
      new RegExp(`${field} is a number`),
    ],
  ),
  [
    'sees another SAE in our certificate',
    fields('own', 'status', 1, { master_SAE_ID: 'siteX' }),
    'bad sae',
    `${C014}6.1`,
    /it sees SAE siteX in our certificate, and siteA was meant/,
    'sae: siteX',
  ],
  [
    "sees another SAE in the peer's certificate",
    fields('peer', 'status', 1, { master_SAE_ID: 'siteX' }),
    'bad peer-sae',
    `${C014}6.1`,
    /it sees SAE siteX in our certificate, and siteB was meant/,
    'peer-sae: [siteX]',
  ],
  [
    'answers for another peer',
    fields('own', 'status', 1, { slave_SAE_ID: 'siteX' }),
    'bad other-sae',
    `${C014}6.1`,
    /asked for SAE siteB, it answers for siteX/,
  ],
  [
    'answers for another drawer',
    fields('peer', 'status', 1, { slave_SAE_ID: 'siteX' }),
    'bad peer-other-sae',
    `${C014}6.1`,
    /asked for SAE siteA, it answers for siteX/,
  ],
  [
    'counts neither bits nor bytes',
    fields('own', 'status', 1, { key_size: 128 }),
    'bad sizes',
    `${C014}6.1`,
    /key_size is 128, and a key of that size has 32 bytes: neither bits nor bytes/,
  ],
  [
    'has no long keys',
    fields('own', 'status', 1, { max_key_size: 248 }),
    'bad sizes',
    `${C014}6.1`,
    /keys of 64 to 248 bits; 256 are needed/,
  ],
  [
    'has no short keys',
    fields('own', 'status', 1, { min_key_size: 264 }),
    'bad sizes',
    `${C014}6.1`,
    /keys of 264 to 8192 bits; 256 are needed/,
  ],
  [
    'counts in bytes',
    honest,
    'bad sizes',
    `${C014}6.1`,
    /in bytes, not in bits: key_size is 32/,
    'key-size-in-bytes: true',
    quirk({ keySizeInBytes: true }),
  ],
  [
    'has no long keys in bytes',
    fields('own', 'status', 1, { max_key_size: 31 }),
    'bad sizes',
    `${C014}6.1`,
    /31 bytes; 32 are needed/,
    null,
    quirk({ keySizeInBytes: true }),
  ],
  [
    'counts in bits, against what is set',
    honest,
    'bad sizes',
    `${C014}6.1`,
    /take key-size-in-bytes away/,
    null,
    knows({ keySizeInBytes: true }),
  ],
  [
    'has limits that are no multiples of 8',
    fields('own', 'status', 1, { min_key_size: 63 }),
    'note sizes',
    `${C014}6.2`,
    /not all multiples of 8: key_size 256, min_key_size 63, max_key_size 8192/,
  ],
  ['has no key', status('own', 'enc_keys', 1, 503), 'bad draw', `${C014}5.3`, /ERR_KDI_INSUFFICIENT_KEY/],
  ['has no second key', status('own', 'enc_keys', 3, 503), 'bad draw', `${C014}5.3`, /ERR_KDI_INSUFFICIENT_KEY/],
  [
    'gives no container',
    fields('own', 'enc_keys', 1, { keys: 1 }),
    'bad draw',
    `${C014}5.3`,
    /no key container: .*keys/,
  ],
  ['gives a key that is no base64', drawn(1, { key: '!' }), 'bad draw', `${C014}5.3`, /ERR_KDI_MALFORMED/],
  [
    'gives two keys for one',
    keys('own', 'enc_keys', 1, (key) => [key, { ...key, key_ID: invented.keys[0]?.key_ID }]),
    'bad draw',
    `${C014}5.3`,
    /2 keys instead of one/,
  ],
  [
    'ignores the size',
    drawn(3, { key: Buffer.alloc(16).toString('base64') }),
    'bad draw',
    `${C014}6.2`,
    /size 256 was asked for, and the key has 16 bytes/,
  ],
  [
    'takes any size',
    answers('own', 'enc_keys', 2, () => ({ json: invented })),
    'note odd-size',
    `${C014}6.2`,
    /257 bits is answered with 200 instead of 400/,
  ],
  [
    'takes any size, and gives nothing',
    status('own', 'enc_keys', 2, 200, {}),
    'bad odd-size',
    `${C014}6.2`,
    /no key container/,
  ],
  [
    'refuses an odd size otherwise',
    status('own', 'enc_keys', 2, 400, { message: 'odd' }),
    'note odd-size',
    `${C014}6.2`,
    /400 'odd' instead of 400 'size shall be a multiple of 8'/,
  ],
  [
    'refuses an odd size by another status',
    status('own', 'enc_keys', 2, 500, { message: 'size shall be a multiple of 8' }),
    'note odd-size',
    `${C014}6.2`,
    /answered with 500 /,
  ],
  [
    'says age and hops of a key',
    drawn(3, { key_extension: { age: 36_000_000, hops: 0 } }),
    'good provenance',
    `${C014}6.3`,
    /^age 10 h, a direct link$/,
  ],
  [
    'gives out what nobody drew',
    status('own', 'dec_keys', 1, 200, invented),
    'bad unknown-key',
    `${C014}5.4`,
    /gives out keys that nobody drew/,
  ],
  [
    'says 401 of an unknown key',
    status('own', 'dec_keys', 1, 401),
    'note unknown-key',
    `${C014}5.4`,
    /as if the key had been drawn for somebody else/,
  ],
  [
    'says 404 of an unknown key',
    status('peer', 'dec_keys', 1, 404),
    'bad peer-unknown-key',
    `${C014}5.4`,
    /404 instead of 400/,
    'unknown-key-status: [404]',
  ],
  [
    'says 404 of an unknown key, as is set',
    status('peer', 'dec_keys', 1, 404),
    'good peer-unknown-key',
    `${C014}5.4`,
    /, as is set$/,
    null,
    knows({ unknownKeyStatuses: [404] }),
  ],
  [
    'says 400 of an unknown key in other words',
    status('own', 'dec_keys', 1, 400, { message: 'what?' }),
    'bad unknown-key',
    `${C014}5.4`,
    /400 'what\?' instead of 400/,
    'unknown-key-status: [400]',
  ],
  [
    'says 400 of an unknown key in other case',
    status('own', 'dec_keys', 1, 400, { message: NOT_FOUND.message.toUpperCase() }),
    'good unknown-key',
    `${C014}5.4`,
    /as the standard says/,
  ],
  [
    'says another status of an unknown key',
    status('own', 'dec_keys', 1, 503, NOT_FOUND),
    'bad unknown-key',
    `${C014}5.4`,
    /answered with 503 /,
    'unknown-key-status: [503]',
  ],
  [
    'has the GET forms only at the other end',
    status('peer', 'dec_keys', 1, 405),
    'bad peer-methods',
    `${C014}5.3`,
    /GET forms only/,
    'get-only: true',
  ],
  ['is honest', honest, 'good lookup', `${C014}5.4`, /^the other side has key [0-9a-f-]{36}$/],
  ['is honest', honest, 'good delay', null, /there at the first look-up$/],
  ['is honest', honest, 'good keys-equal', `${C014}5.4`, /^127.+ and 127.+ gave the same key/],
  ['is honest', honest, 'good single-delivery', `${C014}5.4`, /second look-up .* answered with 4\d\d/],
  ['is honest', honest, 'good batches', `${C014}5.3`, /wait at the other side until they are fetched$/],
  [
    'does not have the key at the other end',
    status('peer', 'dec_keys', 'all', 400, NOT_FOUND),
    'bad lookup',
    `${C014}5.4`,
    /does not have key .*, asked (?:[2-9]|\d\d) times: 400 .*the two ends of one link/,
    null,
    FAST,
  ],
  [
    'gives the key to somebody else',
    answers('peer', 'dec_keys', 2, () => ({ status: 401 })),
    'bad lookup',
    `${C014}5.4`,
    /asked 1 times: 401;/,
  ],
  [
    'answers a look-up with no container',
    status('peer', 'dec_keys', 2, 200, {}),
    'bad lookup',
    `${C014}5.4`,
    /no key container/,
  ],
  [
    'gives another key at the other end',
    found(2, { key: ZEROS }),
    'bad keys-equal',
    `${C014}5.4`,
    /different keys under one key_ID/,
  ],
  [
    'gives a longer key at the other end',
    keys('peer', 'dec_keys', 2, (key) => [
      { ...key, key: Buffer.concat([Buffer.from(key.key, 'base64'), Buffer.alloc(1)]).toString('base64') },
    ]),
    'bad keys-equal',
    `${C014}5.4`,
    /different keys/,
  ],
  [
    'gives a key twice',
    status('peer', 'dec_keys', 3, 200, invented),
    'note single-delivery',
    `${C014}5.4`,
    /given out a second time/,
  ],
  [
    'answers a second look-up with no container',
    status('peer', 'dec_keys', 3, 200, {}),
    'bad single-delivery',
    `${C014}5.4`,
    /no key container/,
  ],
  [
    'forgets earlier keys',
    honest,
    'bad batches',
    `${C014}5.3`,
    /makes the other side forget keys/,
    'one-batch-at-a-time: true',
    quirk({ dropsUnfetched: true }),
  ],
  [
    'forgets earlier keys, as is set',
    honest,
    'good batches',
    `${C014}5.3`,
    /; one-batch-at-a-time copes$/,
    null,
    { ...quirk({ dropsUnfetched: true }), ...knows({ oneBatchAtATime: true }) },
  ],
  [
    'answers for an earlier key with no container',
    status('peer', 'dec_keys', 4, 200, {}),
    'bad batches',
    `${C014}5.3`,
    /no key container/,
  ],
  [
    'gives another earlier key',
    found(4, { key: ZEROS }),
    'bad keys-equal',
    `${C014}5.4`,
    /the two KMEs also differ in key/,
  ],
  [
    'has the key a moment later',
    late('dec_keys', 2, NOT_FOUND),
    'note delay',
    null,
    /at look-up \d; asking later spares/,
    /^min-key-age: \d*[05]0ms$/,
  ],
  [
    'has the key a moment later, as is set',
    late('dec_keys', 2, NOT_FOUND),
    'good delay',
    null,
    /; min-key-age covers it$/,
    null,
    { ...FAST, change: (options) => ({ ...(FAST.change?.(options) ?? options), known: { minKeyAgeMs: 5_000 } }) },
  ],
  [
    'has one key for all',
    (_asked, reply) =>
      isContainer(reply) ? { json: { keys: reply.json.keys.map((key) => ({ ...key, key: ZEROS })) } } : reply,
    'bad keys-distinct',
    `${C014}5.3`,
    /is one that was given out before, under another ID/,
  ],
  [
    'has one key for the client',
    (asked, reply) =>
      isContainer(reply) && asked.nth > 3
        ? { json: { keys: reply.json.keys.map((key) => ({ ...key, key: ZEROS })) } }
        : reply,
    'bad keys-distinct',
    null,
    /is one that was given out before, under another ID/,
  ],
  [
    'runs dry under the client',
    status('own', 'enc_keys', 5, 503),
    'bad rate',
    null,
    /ERR_KDI_INSUFFICIENT_KEY/,
    null,
    ALONE,
  ],
  [
    'gives the client another key there',
    found(5, { key: ZEROS }),
    'bad keys-equal',
    null,
    /the two KMEs differ in \d of 8 keys: /,
  ],
];

declareFaults('etsi014', ETSI014);
