import { allValues, type Feature } from '../axes.ts';
import { isAtLeast, ourPsk, type Peer, type PeerEnd, type Setting } from '../peer.ts';
import { echo, terminal } from '../talk.ts';
import { ML_DSA, NO_IMPORTER, NO_RFC9973, RSA_PSS_PSS } from './reasons.ts';

const GROUPS = {
  x25519: 'x25519',
  secp256r1: 'secp256r1',
  secp384r1: 'secp384r1',
  X25519MLKEM768: 'x25519/ML-KEM-768',
};
const LATER_GROUPS = {
  SecP256r1MLKEM768: 'secp256r1/ML-KEM-768',
  SecP384r1MLKEM1024: 'secp384r1/ML-KEM-1024',
};
const features: readonly Feature[] = ['certificate', 'psk', 'resumption', 'hrr', 'key-update-ours', 'large-transfer'];

/** The groups, the first of which a client sends a share of, and nothing before TLS 1.3. */
function policy({ groups, credentials }: Setting): string {
  const lines = [
    'allow_tls12 = false',
    'allow_tls13 = true',
    `key_exchange_groups = ${groups.join(' ')}`,
    `key_exchange_groups_to_offer = ${groups[0]}`,
  ];
  return credentials.file(`botan-${groups.join('-').replaceAll('/', '+')}.policy`, `${lines.join('\n')}\n`);
}

const pskArguments = [`--psk=${Buffer.from(ourPsk.secret).toString('hex')}`, `--psk-identity=${ourPsk.identity}`];

function server(setting: Setting) {
  const { choice, leaf, port } = setting;
  const args = ['tls_server', leaf.certPath, leaf.keyPath, `--port=${port}`, `--policy=${policy(setting)}`];
  if (choice.feature === 'psk') args.push(...pskArguments);
  return { program: 'botan', args, ready: /Listening for new connections/ };
}

function client(setting: Setting) {
  const { choice, leaf, credentials, port } = setting;
  const args = ['tls_client', 'localhost', `--port=${port}`, `--policy=${policy(setting)}`];
  args.push('--skip-system-cert-store', `--trusted-cas=${credentials.caPath}`);
  if (choice.feature === 'psk') args.push(...pskArguments);
  if (choice.feature === 'resumption') args.push(`--session-db=${setting.sessionPath}`, '--session-db-pass=interop');
  if (choice.feature === 'client-certificate')
    args.push(`--client-cert=${leaf.certPath}`, `--client-cert-key=${leaf.keyPath}`);
  return { program: 'botan', args };
}

export const botan: Peer = {
  name: 'botan',
  title: 'Botan',
  programs: ['botan'],
  places: ['trixie', 'sid'],
  version: { program: 'botan', args: ['version'], pattern: /^(\d\S+)/m },
  ends(version) {
    const later = isAtLeast(version, '3.13');
    const end: Omit<PeerEnd, 'start' | 'features' | 'talk'> = {
      groups: later ? { ...GROUPS, ...LATER_GROUPS } : GROUPS,
      suites: allValues.suite,
      signatures: allValues.signature.filter((name) => name.startsWith('ecdsa') || name.startsWith('rsa_pss_rsae')),
      cannot: [
        [later ? [] : Object.keys(LATER_GROUPS), 'refuses our share of these as of an unexpected length'],
        [[...ML_DSA, 'ed25519', ...RSA_PSS_PSS], 'its TLS offers ECDSA and rsa_pss_rsae only'],
        [['imported-psk', 'imported-psk-certificate'], NO_IMPORTER],
        [['psk-certificate'], NO_RFC9973],
        [['key-update-theirs'], 'its programs have no command for it'],
      ],
    };
    return {
      server: {
        ...end,
        features,
        cannot: [
          ...end.cannot,
          [['client-certificate'], 'tls_server asks for none'],
          [['hrr-cookie'], 'its HelloRetryRequest has no cookie'],
          [['half-close-ours', 'half-close-theirs'], 'tls_server closes both directions at once'],
        ],
        start: server,
        talk: echo(),
        reusable: true,
      },
      client: {
        ...end,
        features: [...features, 'client-certificate', 'hrr-cookie'],
        cannot: [
          ...end.cannot,
          [['half-close-ours', 'half-close-theirs'], 'tls_client closes both directions at once'],
        ],
        start: client,
        talk: terminal(),
      },
    };
  },
};
