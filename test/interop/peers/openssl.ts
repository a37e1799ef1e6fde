import { allValues, type Feature } from '../axes.ts';
import { isAtLeast, ourPsk, type Peer, type PeerEnd, type Setting } from '../peer.ts';
import { terminal } from '../talk.ts';
import { HYBRID_GROUPS, ML_DSA, NO_IMPORTER, NO_RFC9973, withoutMlDsa } from './reasons.ts';

const CLASSICAL = { x25519: 'X25519', secp256r1: 'P-256', secp384r1: 'P-384' };
const HYBRID = {
  X25519MLKEM768: 'X25519MLKEM768',
  SecP256r1MLKEM768: 'SecP256r1MLKEM768',
  SecP384r1MLKEM1024: 'SecP384r1MLKEM1024',
};
const features: readonly Feature[] = [
  'certificate',
  'client-certificate',
  'psk',
  'resumption',
  'hrr',
  'hrr-cookie',
  'key-update-ours',
  'key-update-theirs',
  'large-transfer',
];
const pskHex = Buffer.from(ourPsk.secret).toString('hex');
const NO_HALF_CLOSE = 'ends at the close_notify of the other side, and closes both directions at once';

/** `K` at the start of what it reads: a KeyUpdate that asks for ours. */
const talk = terminal({
  keyUpdate: async ({ ours, peer }) => {
    const { replies } = ours;
    peer.write('K\n');
    await ours.until(() => ours.replies > replies);
  },
});

function server({ choice: { feature }, groups, leaf, credentials }: Setting) {
  const args = ['s_server', '-accept', '127.0.0.1:0', '-tls1_3', '-groups', groups.join(':')];
  if (feature === 'psk') args.push('-nocert', '-psk', pskHex);
  else args.push('-cert', leaf.certPath, '-key', leaf.keyPath);
  if (feature === 'client-certificate')
    args.push('-Verify', '2', '-verify_return_error', '-CAfile', credentials.caPath);
  return { program: 'openssl', args, ready: /ACCEPT/ };
}

function client({ choice: { feature }, groups, leaf, credentials, port, sessionPath, again }: Setting) {
  const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_3', '-groups', groups.join(':')];
  if (feature === 'psk') args.push('-psk', pskHex, '-psk_identity', ourPsk.identity);
  else args.push('-CAfile', credentials.caPath, '-verify_return_error', '-verify_hostname', 'localhost');
  if (feature === 'client-certificate') args.push('-cert', leaf.certPath, '-key', leaf.keyPath);
  if (feature === 'resumption') args.push(again ? '-sess_in' : '-sess_out', sessionPath);
  return { program: 'openssl', args };
}

export const openssl: Peer = {
  name: 'openssl',
  title: 'OpenSSL',
  programs: ['openssl'],
  places: ['installed', 'trixie', 'sid'],
  version: { program: 'openssl', args: ['version'], pattern: /^OpenSSL (\S+)/ },
  ends(version) {
    const postQuantum = isAtLeast(version, '3.5');
    const end: Omit<PeerEnd, 'start'> = {
      groups: postQuantum ? { ...CLASSICAL, ...HYBRID } : CLASSICAL,
      suites: allValues.suite,
      signatures: postQuantum ? allValues.signature : withoutMlDsa,
      features,
      cannot: [
        [postQuantum ? [] : HYBRID_GROUPS, 'ML-KEM came with OpenSSL 3.5'],
        [postQuantum ? [] : ML_DSA, 'ML-DSA came with OpenSSL 3.5'],
        [['imported-psk', 'imported-psk-certificate'], NO_IMPORTER],
        [['psk-certificate'], NO_RFC9973],
        [['half-close-ours', 'half-close-theirs'], NO_HALF_CLOSE],
      ],
      talk,
      reusable: true,
    };
    return {
      server: {
        ...end,
        features: features.filter((feature) => feature !== 'hrr-cookie'),
        cannot: [
          ...end.cannot,
          [['hrr-cookie'], 's_server -stateless closes after its HelloRetryRequest, with s_client too'],
        ],
        start: server,
      },
      client: { ...end, start: client },
    };
  },
};
