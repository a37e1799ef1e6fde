/** What reads certificates: DER, PEM, names, chains. Real ones are where it starts. */

import {
  checkInteger,
  DerError,
  DerReader,
  derBoolean,
  derNamedBits,
  derOctetAlignedBits,
  derOid,
  derSmallInteger,
  derTimeMs,
} from '../../../certs/der.ts';
import { distinguishedNameText } from '../../../certs/distinguished-name.ts';
import {
  type Certificate,
  type Credential,
  certificateNamesHost,
  certificatesOfPem,
  createCa,
  issueLeaf,
  loadIdentity,
  loadTrust,
  parseCertificate,
  saeIdFromUri,
  saeIdToUri,
  validateChain,
} from '../../../certs/index.ts';
import { bytesEqual, fromHex, utf8 } from '../../../tls-ext/bytes/index.ts';
import { decodeProgram, encodeProgram, mutateProgram, type Operation } from '../program.ts';
import type { Outcome, Target } from '../target.ts';
import { decoder, outcomeOf, text } from './codec.ts';

const nowMs = Date.UTC(2027, 0, 1);
const root = await createCa({ commonName: 'root', nowMs, pathLength: 2 });
const middle = await createCa({ commonName: 'middle', nowMs, pathLength: 1, issuer: root });
const names = { dnsNames: ['a.example', '*.b.example'], ipAddresses: ['127.0.0.1', '::1'] };
const leaf = await issueLeaf(middle, 'proxy', { commonName: 'leaf', nowMs, saeIds: ['siteA', 'x/y'], ...names });
const trust = loadTrust(root.certPem);

const chainOf = ({ certPem }: Credential) => certificatesOfPem(certPem);
const leafDer = chainOf(leaf)[0] as Uint8Array;
const everyDer = () => [
  ...new Map([...chainOf(leaf), ...chainOf(middle), ...chainOf(root)].map((der) => [der.join(), der])).values(),
];
const isDerError = (error: unknown) => error instanceof DerError;

/** Identifier octets and OIDs of certificates. */
const dictionary = [
  ...[0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x17, 0x18, 0x30, 0x31, 0x80, 0x82, 0x86, 0x87, 0xa0, 0xa3].map((tag) =>
    Uint8Array.of(tag),
  ),
  ...[
    '0603551d13',
    '0603551d0f',
    '0603551d11',
    '0603551d25',
    '0603551d1e',
    '06082a8648ce3d030107',
    '300506032b6570',
  ].map(fromHex),
  ...['0101ff', '020100', '30800000', '308400000001', '0500', '3000', '170d3237303130313030303030305a'].map(fromHex),
];

/** Operations hold certificates; their kind chooses the question. */
function judgeChain(operations: readonly Operation[]): Outcome {
  const [first] = operations;
  const chainDer = operations.map(({ payload }) => payload.slice());
  const verdict = validateChain({
    chainDer,
    trust,
    nowMs: nowMs + (first?.argument ?? 0) * 86_400_000,
    purpose: (first?.kind ?? 0) % 2 === 0 ? 'server' : 'client',
    expectedSaeIds: ['siteA'],
    verifyHost: 'c.b.example',
  });
  if (!verdict.ok) return verdict.error.message;
  // Every bit of it is under a signature: what was changed is another certificate.
  if (!bytesEqual(chainDer[0] as Uint8Array, leafDer)) throw new Error('a leaf that nobody issued was believed');
  return 'believed';
}

const chainProgram = (...chain: readonly Uint8Array[]) =>
  encodeProgram(chain.map((payload) => ({ kind: 0, argument: 0, payload })));

export const certificateTargets: readonly Target[] = [
  {
    ...decoder(
      'certificate-der',
      ['parseCertificate', 'DerReader', 'distinguishedNameText'],
      everyDer,
      parseCertificate,
    ),
    dictionary,
  },
  {
    name: 'certificate-chain',
    covers: ['validateChain'],
    seeds: () => {
      const [own, ...above] = chainOf(leaf) as [Uint8Array, ...Uint8Array[]];
      return [
        chainProgram(own, ...above),
        chainProgram(own),
        chainProgram(...above),
        chainProgram(own, ...above, ...chainOf(root)),
        chainProgram(),
      ];
    },
    mutate: mutateProgram({ kinds: 2, arguments: 256, dictionary }),
    dictionary,
    run: (input) => judgeChain(decodeProgram(input)),
  },
  {
    ...decoder(
      'der-values',
      ['derBoolean', 'derSmallInteger', 'checkInteger', 'derOctetAlignedBits', 'derNamedBits', 'derOid', 'derTimeMs'],
      () => ['0101ff', '0202012c', '030205a0', '06032a0304', '170d3237303130313030303030305a'].map(fromHex),
      (input) => {
        const value = new DerReader(input).read();
        const readers = [derBoolean, derSmallInteger, checkInteger, derOctetAlignedBits, derNamedBits, derOid];
        for (const read of [...readers.map((one) => () => one(value.content)), () => derTimeMs(value)]) {
          outcomeOf(() => void read(), isDerError);
        }
      },
      isDerError,
    ),
    dictionary,
  },
  decoder(
    'distinguished-name',
    ['distinguishedNameText'],
    () => everyDer().map((der) => parseCertificate(der).subject),
    distinguishedNameText,
    isDerError,
  ),
  text('pem', ['certificatesOfPem'], [leaf.certPem, `text\n${root.certPem}`], certificatesOfPem, undefined, [
    '-----BEGIN CERTIFICATE-----',
    '-----END CERTIFICATE-----',
    '-----BEGIN PRIVATE KEY-----',
  ]),
  text('trust-anchors', ['loadTrust'], [root.certPem, root.certPem + middle.certPem], loadTrust),
  text(
    'identity',
    ['loadIdentity'],
    [`${leaf.certPem}\0${leaf.keyPem}`, `${leaf.certPem}\0${root.keyPem}`],
    (source) => {
      const [certPem = '', keyPem = ''] = source.split('\0');
      loadIdentity(certPem, keyPem);
    },
  ),
  text('sae-uri', ['saeIdFromUri'], ['urn:qstunnel:sae:siteA', saeIdToUri('a/b%c')], (uri) => {
    const sae = saeIdFromUri(uri);
    if (sae !== undefined && saeIdToUri(sae) !== uri) throw new Error('two spellings of one SAE');
  }),
  {
    name: 'host-name',
    covers: ['certificateNamesHost'],
    seeds: () => ['a.example', 'c.b.example', 'b.example', '127.0.0.1', '[::1]', 'A.EXAMPLE.'].map(utf8),
    dictionary: ['*.', '.', '..', '\0', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1', '%25', '127.1'].map(utf8),
    run: (input) => {
      const named = certificateNamesHost(parsedLeaf, Buffer.from(input).toString('latin1'));
      return named ? 'named' : 'not named';
    },
  },
];

const parsedLeaf: Certificate = parseCertificate(leafDer);
