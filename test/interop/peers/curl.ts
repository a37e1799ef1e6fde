import { allValues, type Feature } from '../axes.ts';
import type { Peer, PeerEnd, Setting } from '../peer.ts';
import { httpClient, someText, TRANSFER_BYTES } from '../talk.ts';
import { HYBRID_GROUPS, ML_DSA, NO_IMPORTER, NO_RFC9973, withoutMlDsa } from './reasons.ts';

const CLASSICAL = { x25519: 'X25519', secp256r1: 'P-256', secp384r1: 'P-384' };
const HYBRID = Object.fromEntries(HYBRID_GROUPS.map((name) => [name, name]));
const features: readonly Feature[] = [
  'certificate',
  'client-certificate',
  'resumption',
  'hrr',
  'hrr-cookie',
  'key-update-ours',
  'large-transfer',
];

function client({ choice: { feature }, groups, leaf, credentials, port }: Setting) {
  const args = ['--silent', '--show-error', '--noproxy', '*', '--tlsv1.3', '--cacert', credentials.caPath];
  args.push('--curves', groups.join(':'), '--connect-to', `localhost:443:127.0.0.1:${port}`);
  if (feature === 'client-certificate') args.push('--cert', leaf.certPath, '--key', leaf.keyPath);
  const lengthBytes = feature === 'large-transfer' ? TRANSFER_BYTES : 40;
  // An upload of this kind isn't announced with Expect, which we would have to answer.
  const upload = credentials.file(`curl-upload-${lengthBytes}`, someText(lengthBytes));
  args.push('--header', 'Expect:', '--upload-file', upload, 'https://localhost/');
  // Within one process it keeps sessions, and a connection that has closed is made anew.
  if (feature === 'resumption') args.push('--next', ...args.slice());
  return { program: 'curl', args };
}

export const curl: Peer = {
  name: 'curl',
  title: 'curl',
  programs: ['curl'],
  places: ['installed', 'trixie', 'sid'],
  version: { program: 'curl', args: ['--version'], pattern: /^curl (\S+) .*?(OpenSSL\/\S+)/ },
  ends(_, place) {
    const postQuantum = place !== 'installed';
    const end: PeerEnd = {
      groups: postQuantum ? { ...CLASSICAL, ...HYBRID } : CLASSICAL,
      suites: allValues.suite,
      signatures: postQuantum ? allValues.signature : withoutMlDsa,
      features,
      cannot: [
        [postQuantum ? [] : [...HYBRID_GROUPS, ...ML_DSA], 'its OpenSSL is older than 3.5'],
        [['psk'], 'curl has no option for a PSK'],
        [['imported-psk', 'imported-psk-certificate'], NO_IMPORTER],
        [['psk-certificate'], NO_RFC9973],
        [['key-update-theirs'], 'has no command for it'],
        [['half-close-ours', 'half-close-theirs'], 'HTTP/1.1 of curl closes both directions at once'],
      ],
      start: client,
      beforeReconnecting: httpClient.exchange,
      talk: httpClient,
    };
    return { server: 'curl is no server', client: end };
  },
};
