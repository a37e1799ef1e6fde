import { allValues, type Feature } from '../axes.ts';
import { ourPsk, type Peer, type PeerEnd, type Role, type Setting } from '../peer.ts';
import { bridge } from '../talk.ts';
import { HYBRID_GROUPS, ML_DSA, NO_IMPORTER, NO_RFC9973, withoutMlDsa } from './reasons.ts';

const CLASSICAL = { x25519: 'X25519', secp256r1: 'P-256', secp384r1: 'P-384' };
const HYBRID = Object.fromEntries(HYBRID_GROUPS.map((name) => [name, name]));
const features: readonly Feature[] = [
  ...(['certificate', 'client-certificate', 'psk', 'resumption', 'hrr', 'key-update-ours', 'large-transfer'] as const),
  ...(['half-close-ours', 'half-close-theirs'] as const),
];

/** A configuration file of its own for each setting. */
const start =
  (role: Role) =>
  ({ choice, groups, leaf, credentials, port, backendPort, place }: Setting) => {
    const { feature } = choice;
    const lines = ['foreground = yes', 'debug = info', 'syslog = no', 'pid =', '[peer]'];
    lines.push('accept = 127.0.0.1:0', `connect = 127.0.0.1:${role === 'server' ? backendPort : port}`);
    lines.push(
      `client = ${role === 'client' ? 'yes' : 'no'}`,
      'sslVersionMin = TLSv1.3',
      `curves = ${groups.join(':')}`,
    );
    if (feature === 'psk') {
      const secret = Buffer.from(ourPsk.secret).toString('hex');
      lines.push(`PSKsecrets = ${credentials.file('stunnel.psk', `${ourPsk.identity}:${secret}\n`)}`);
    }
    if (feature === 'client-certificate' || (role === 'server' && feature !== 'psk')) {
      lines.push(`cert = ${leaf.certPath}`, `key = ${leaf.keyPath}`);
    }
    if (feature === 'client-certificate' || (role === 'client' && feature !== 'psk')) {
      lines.push(`CAfile = ${credentials.caPath}`, 'verifyChain = yes');
    }
    if (role === 'client') lines.push('sni = localhost', ...(feature === 'psk' ? [] : ['checkHost = localhost']));
    const text = `${lines.join('\n')}\n`;
    const name = `stunnel-${place}-${role}-${feature}-${choice.signature}-${groups.join('-')}-${port}.conf`;
    return {
      program: 'stunnel4',
      args: [credentials.file(name, text)],
      ready: /Configuration successful/,
    };
  };

export const stunnel: Peer = {
  name: 'stunnel',
  title: 'stunnel',
  programs: ['stunnel4'],
  places: ['installed', 'trixie', 'sid'],
  version: {
    program: 'stunnel4',
    args: ['-version'],
    pattern: /stunnel (\S+) on [\s\S]*(OpenSSL [\d.]+)/,
  },
  ends(version, place) {
    const postQuantum = place !== 'installed';
    const end: Omit<PeerEnd, 'start'> = {
      groups: postQuantum ? { ...CLASSICAL, ...HYBRID } : CLASSICAL,
      suites: allValues.suite,
      signatures: postQuantum ? allValues.signature : withoutMlDsa,
      features,
      cannot: [
        [postQuantum ? [] : [...HYBRID_GROUPS, ...ML_DSA], 'its OpenSSL is older than 3.5'],
        [['imported-psk', 'imported-psk-certificate'], NO_IMPORTER],
        [['psk-certificate'], NO_RFC9973],
        [['key-update-theirs'], 'has no command for it'],
      ],
      passesOn: true,
      talk: bridge,
    };
    // Looks up the name of the group, and takes OpenSSL's error for one of the connection later on.
    const resets = version.startsWith('5.74,');
    return {
      server: {
        ...end,
        groups: resets ? CLASSICAL : end.groups,
        cannot: [
          ...end.cannot,
          [['hrr-cookie'], 'its HelloRetryRequest has no cookie'],
          [resets ? HYBRID_GROUPS : [], 'with ML-KEM groups version 5.74 resets connections now and then'],
        ],
        start: start('server'),
        reusable: true,
      },
      client: { ...end, features: [...features, 'hrr-cookie'], start: start('client') },
    };
  },
};
