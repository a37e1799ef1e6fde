import { encodeQkdKeyReference, encodeQkdPskContext } from '../../../tls-ext/index.ts';
import { allValues, type Feature } from '../axes.ts';
import { importedPsk } from '../our-end.ts';
import { ourPsk, type Peer, type PeerEnd, type Role, type Setting } from '../peer.ts';
import { locate } from '../places.ts';
import { type Conversation, echo, terminal } from '../talk.ts';
import { HYBRID_GROUPS, ML_DSA, NO_RFC9973, withoutMlDsa } from './reasons.ts';

/** Everything of TLS 1.3 and nothing of before; the choice is ours. */
const PRIORITY = 'NORMAL:-VERS-ALL:+VERS-TLS1.3';
const CLASSICAL = { x25519: 'X25519', secp256r1: 'SECP256R1', secp384r1: 'SECP384R1' };
const bothRoles: readonly Feature[] = [
  'certificate',
  'client-certificate',
  'psk',
  'resumption',
  'hrr',
  'key-update-ours',
  'large-transfer',
];

const priority = (groups: readonly string[], feature: Feature) =>
  [
    PRIORITY,
    '-GROUP-ALL',
    ...groups.map((group) => `+GROUP-${group}`),
    ...(feature === 'psk' || feature === 'imported-psk' ? ['+ECDHE-PSK'] : []),
  ].join(':');

/** The inline command `rekey` sends a KeyUpdate that asks for ours. */
async function rekey({ ours, peer }: Conversation): Promise<void> {
  const { replies } = ours;
  peer.write('^rekey^\n');
  await ours.until(() => ours.replies > replies);
}

/** A program of ours on its library, since its own programs have no option for the importer. */
const IMPORTER = 'gnutls-importer';

function importer(role: Role, { choice: { feature }, groups, port }: Setting) {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  const [identity, context] = [encodeQkdKeyReference(importedPsk.reference), encodeQkdPskContext(importedPsk.context)];
  const args = [role, String(port), priority(groups, feature), hex(identity), hex(context), pskHex];
  return { program: IMPORTER, args, ready: /listening/ };
}

function server(setting: Setting) {
  const { feature } = setting.choice;
  if (feature === 'imported-psk') return importer('server', setting);
  const { groups, leaf, credentials, port } = setting;
  const args = ['--echo', '--port', String(port), '--priority', priority(groups, feature)];
  if (feature === 'psk') args.push('--pskpasswd', credentials.file('gnutls.psk', `${ourPsk.identity}:${pskHex}\n`));
  else args.push('--x509certfile', leaf.certPath, '--x509keyfile', leaf.keyPath);
  if (feature === 'client-certificate') {
    args.push('--require-client-cert', '--verify-client-cert', '--x509cafile', credentials.caPath);
  } else args.push('--disable-client-cert');
  return { program: 'gnutls-serv', args, ready: /Echo Server listening on IPv4 .*?\.\.\.done/s };
}

function client(setting: Setting) {
  const { feature } = setting.choice;
  if (feature === 'imported-psk') return importer('client', setting);
  const { groups, leaf, credentials, port } = setting;
  const args = ['127.0.0.1', '--port', String(port), '--priority', priority(groups, feature), '--inline-commands'];
  // One share, as ours: with more of them there is nothing to retry.
  args.push('--single-key-share', '--sni-hostname', 'localhost', '--verify-hostname', 'localhost');
  if (feature === 'psk') args.push('--pskusername', ourPsk.identity, '--pskkey', pskHex);
  else args.push('--x509cafile', credentials.caPath);
  if (feature === 'client-certificate') args.push('--x509certfile', leaf.certPath, '--x509keyfile', leaf.keyPath);
  if (feature === 'resumption') args.push('--resume', '--waitresumption');
  return { program: 'gnutls-cli', args };
}

const pskHex = Buffer.from(ourPsk.secret).toString('hex');

export const gnutls: Peer = {
  name: 'gnutls',
  title: 'GnuTLS',
  programs: ['gnutls-serv', 'gnutls-cli'],
  places: ['installed', 'trixie', 'sid'],
  version: { program: 'gnutls-cli', args: ['--version'], pattern: /^gnutls-cli (\S+)/ },
  ends(_, place) {
    const imports = locate(place, IMPORTER) !== undefined;
    const more: readonly Feature[] = imports ? ['imported-psk'] : [];
    const end: Omit<PeerEnd, 'start' | 'features' | 'talk'> = {
      groups: CLASSICAL,
      suites: allValues.suite,
      signatures: withoutMlDsa,
      cannot: [
        [HYBRID_GROUPS, "Debian's build has no ML-KEM"],
        [ML_DSA, "Debian's build has no ML-DSA"],
        [
          imports ? [] : ['imported-psk'],
          place === 'installed' ? 'the importer came with GnuTLS 3.8.1' : 'our program on its library is not built',
        ],
        [['psk-certificate', 'imported-psk-certificate'], NO_RFC9973],
      ],
      excludes: ({ suite, feature }) =>
        feature === 'imported-psk' && suite.endsWith('SHA384')
          ? "imported PSKs with SHA-384 suites: it imports by the target's hash, RFC 9258 by the key's own"
          : undefined,
    };
    return {
      server: {
        ...end,
        features: [...bothRoles, ...more],
        cannot: [
          ...end.cannot,
          [['hrr-cookie'], 'its HelloRetryRequest has no cookie'],
          [['key-update-theirs'], 'gnutls-serv has no command for it'],
          [['half-close-ours', 'half-close-theirs'], 'gnutls-serv closes both directions at once'],
        ],
        start: server,
        talk: echo(),
        reusable: true,
      },
      client: {
        ...end,
        features: [...bothRoles, ...more, 'hrr-cookie', 'key-update-theirs', 'half-close-theirs'],
        cannot: [...end.cannot, [['half-close-ours'], 'gnutls-cli ends at our close_notify']],
        start: client,
        // It waits for a ticket and closes.
        beforeReconnecting: async () => {},
        talk: terminal({ keyUpdate: rekey, transferBytes: 65_536 }),
      },
    };
  },
};
