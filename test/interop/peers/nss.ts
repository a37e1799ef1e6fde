import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { allValues, type Feature } from '../axes.ts';
import { isAtLeast, ourPsk, type Peer, type PeerEnd, type Setting } from '../peer.ts';
import { locate } from '../places.ts';
import { httpServer, terminal } from '../talk.ts';
import { HYBRID_GROUPS, ML_DSA, NO_IMPORTER, NO_RFC9973, withoutMlDsa } from './reasons.ts';

const CLASSICAL = { x25519: 'x25519', secp256r1: 'P256', secp384r1: 'P384' };
const HYBRID = {
  X25519MLKEM768: 'x25519mlkem768',
  SecP256r1MLKEM768: 'secp256r1mlkem768',
  SecP384r1MLKEM1024: 'secp384r1mlkem1024',
};
/** What earlier programs call the one hybrid group that they have. */
const FIRST_HYBRID = { X25519MLKEM768: 'mlkem768x25519' };
const PASSWORD = 'interop';
const features: readonly Feature[] = [
  'certificate',
  'client-certificate',
  'psk',
  'resumption',
  'hrr',
  'key-update-ours',
];
const psk = `0x${Buffer.from(ourPsk.secret).toString('hex')}:${ourPsk.identity}`;

/** A database with our CA and one leaf, `leaf`, with its key. */
function database({ choice: { signature }, leaf, credentials, place }: Setting): string {
  const path = credentials.made(`nss-${place}-${signature}`, (folder) => {
    mkdirSync(folder);
    const run = (name: string, ...args: readonly string[]) => {
      const { command, args: before = [], env = {} } = locate(place, name) ?? { command: name };
      execFileSync(command, [...before, ...args], { env: { ...process.env, ...env }, stdio: 'pipe' });
    };
    const [directory, bundle] = [`sql:${folder}`, join(folder, 'leaf.p12')];
    run('certutil', '-N', '-d', directory, '--empty-password');
    run('certutil', '-A', '-d', directory, '-n', 'ca', '-t', 'CT,C,C', '-i', credentials.caPath);
    run(
      'openssl',
      'pkcs12',
      '-export',
      '-name',
      'leaf',
      '-passout',
      `pass:${PASSWORD}`,
      '-out',
      bundle,
      '-in',
      leaf.certPath,
      '-inkey',
      leaf.keyPath,
    );
    run('pk12util', '-i', bundle, '-d', directory, '-W', PASSWORD);
  });
  return `sql:${path}`;
}

function server(setting: Setting) {
  const { choice, groups, port } = setting;
  const args = ['-v', '-d', database(setting), '-n', 'leaf', '-p', String(port), '-V', 'tls1.3:tls1.3'];
  args.push('-I', groups.join(','), ...signatureArguments(setting));
  if (choice.feature === 'psk') args.push('-z', psk);
  if (choice.feature === 'client-certificate') args.push('-r', '-r');
  if (choice.feature === 'resumption') args.push('-u');
  return { program: 'selfserv', args, ready: /About to call accept/ };
}

function client(setting: Setting) {
  const { choice, groups, port } = setting;
  const args = [
    '-d',
    database(setting),
    '-h',
    '127.0.0.1',
    '-a',
    'localhost',
    '-p',
    String(port),
    '-V',
    'tls1.3:tls1.3',
  ];
  args.push('-I', groups.join(','), ...signatureArguments(setting));
  if (choice.feature === 'psk') args.push('-z', psk);
  if (choice.feature === 'client-certificate') args.push('-n', 'leaf');
  return { program: 'tstclnt', args };
}

/** Not all that it knows are on by default. */
function signatureArguments({ choice: { signature } }: Setting): readonly string[] {
  return ['-J', [...new Set([...(signature === 'none' ? [] : [signature]), 'ecdsa_secp256r1_sha256'])].join(',')];
}

export const nss: Peer = {
  name: 'nss',
  title: 'NSS',
  programs: ['selfserv', 'tstclnt', 'certutil', 'pk12util'],
  places: ['installed', 'trixie', 'sid'],
  version: { library: 'libnss3.so', pattern: /Version: NSS ([\d.]+)/ },
  ends(version) {
    const current = isAtLeast(version, '3.132');
    const end: Omit<PeerEnd, 'start' | 'features' | 'talk'> = {
      groups: { ...CLASSICAL, ...(current ? HYBRID : isAtLeast(version, '3.105') ? FIRST_HYBRID : {}) },
      suites: allValues.suite,
      signatures: (current ? allValues.signature : withoutMlDsa).filter((name) => name !== 'ed25519'),
      cannot: [
        [HYBRID_GROUPS, 'not in this version'],
        [ML_DSA, 'not in this version'],
        [['ed25519'], 'selfserv refuses such a certificate, tstclnt offers none'],
        [['imported-psk', 'imported-psk-certificate'], NO_IMPORTER],
        [['psk-certificate'], NO_RFC9973],
        [['key-update-theirs'], 'its programs have no command for it'],
      ],
    };
    return {
      server: {
        ...end,
        features: features.filter((feature) => feature !== 'psk'),
        cannot: [
          ...end.cannot,
          [['psk'], "selfserv -z selects no PSK, of OpenSSL's client neither"],
          [['hrr-cookie'], 'its HelloRetryRequest has no cookie'],
          [['large-transfer'], 'selfserv takes no request beyond 10 kB'],
          [['half-close-ours', 'half-close-theirs'], 'selfserv answers a request and closes'],
        ],
        start: server,
        excludes: ({ feature, signature }) =>
          feature === 'resumption' && ML_DSA.includes(signature)
            ? 'selfserv fails to resume a session with an ML-DSA certificate'
            : undefined,
        talk: httpServer,
        reusable: true,
      },
      client: {
        ...end,
        features: [
          ...features.filter((feature) => feature !== 'resumption'),
          ...(['hrr-cookie', 'large-transfer', 'half-close-ours'] as const),
        ],
        cannot: [
          ...end.cannot,
          [['half-close-theirs'], "tstclnt sends no close_notify at its input's end"],
          [['resumption'], 'tstclnt keeps no session, and connects once with -L too'],
        ],
        start: client,
        talk: terminal({ transferBytes: 65_536 }),
      },
    };
  },
};
