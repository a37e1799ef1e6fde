import { fileURLToPath } from 'node:url';
import { allValues, type Feature } from '../axes.ts';
import { isAtLeast, ourPsk, type Peer, type PeerEnd, type Role, type Setting } from '../peer.ts';
import { bridge } from '../talk.ts';
import { HYBRID_GROUPS, ML_DSA, NO_IMPORTER, NO_RFC9973, withoutMlDsa } from './reasons.ts';

const PROGRAM = fileURLToPath(new URL('../programs/node-bridge.mjs', import.meta.url));
const CLASSICAL = { x25519: 'X25519', secp256r1: 'P-256', secp384r1: 'P-384' };
const HYBRID = Object.fromEntries(HYBRID_GROUPS.map((name) => [name, name]));
const features: readonly Feature[] = [
  ...(['certificate', 'client-certificate', 'psk', 'resumption', 'hrr', 'key-update-ours', 'large-transfer'] as const),
  ...(['half-close-ours', 'half-close-theirs'] as const),
];

const start =
  (role: Role) =>
  ({ choice: { feature }, groups, leaf, credentials, port, backendPort }: Setting) => {
    const ownCertificate = feature === 'client-certificate' || (role === 'server' && feature !== 'psk');
    const options = {
      role,
      groups,
      ca: credentials.caPath,
      ...(ownCertificate ? { cert: leaf.certPath, key: leaf.keyPath } : {}),
      ...(feature === 'psk'
        ? { psk: { identity: ourPsk.identity, secret: Buffer.from(ourPsk.secret).toString('hex') } }
        : {}),
      requestCert: feature === 'client-certificate',
      ...(role === 'server' ? { backendPort } : { port }),
    };
    return { program: 'node', args: [PROGRAM, JSON.stringify(options)], ready: /listening/ };
  };

export const node: Peer = {
  name: 'node',
  title: 'Node',
  programs: ['node'],
  places: ['this-node', 'newest-node', 'node24'],
  version: {
    program: 'node',
    args: ['-p', "process.version + ' OpenSSL ' + process.versions.openssl"],
    pattern: /^v(\S+) (OpenSSL \S+)/m,
  },
  ends(version) {
    const openssl = /OpenSSL ([\d.]+)/.exec(version)?.[1] ?? '0';
    const postQuantum = isAtLeast(openssl, '3.5');
    const end: Omit<PeerEnd, 'start'> = {
      groups: postQuantum ? { ...CLASSICAL, ...HYBRID } : CLASSICAL,
      suites: allValues.suite,
      signatures: postQuantum ? allValues.signature : withoutMlDsa,
      features,
      cannot: [
        [postQuantum ? [] : [...HYBRID_GROUPS, ...ML_DSA], 'its OpenSSL is older than 3.5'],
        [['imported-psk', 'imported-psk-certificate'], NO_IMPORTER],
        [['psk-certificate'], NO_RFC9973],
        [['key-update-theirs'], 'node:tls has no KeyUpdate'],
      ],
      passesOn: true,
      talk: bridge,
    };
    return {
      server: {
        ...end,
        cannot: [...end.cannot, [['hrr-cookie'], 'its HelloRetryRequest has no cookie']],
        start: start('server'),
        reusable: true,
      },
      client: { ...end, features: [...features, 'hrr-cookie'], start: start('client') },
    };
  },
};
