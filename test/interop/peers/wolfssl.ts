import { allValues, type Choice, type Feature } from '../axes.ts';
import type { Peer, PeerEnd, Setting } from '../peer.ts';
import { type Conversation, echo, type Talk, TRANSFER_BYTES } from '../talk.ts';
import { ECHO_CLOSES, HYBRID_GROUPS, NO_IMPORTER, RSA_PSS_PSS } from './reasons.ts';

/** How the client is told to send a share of a group, which its server takes whichever it is. */
const CLIENT_GROUPS: Readonly<Record<string, string>> = {
  x25519: '-t',
  secp256r1: '-Y',
  secp384r1: '',
  ...Object.fromEntries(HYBRID_GROUPS.map((name) => [name, `--pqc ${name}`])),
};
/** How the server is told to want a group, so that it sends HelloRetryRequest. */
const FORCED: Readonly<Record<string, string>> = {
  ...CLIENT_GROUPS,
  secp256r1: '--force-curve SECP256R1',
  secp384r1: '--force-curve SECP384R1',
};
const SUITES: Readonly<Record<string, string>> = {
  TLS_AES_128_GCM_SHA256: 'TLS13-AES128-GCM-SHA256',
  TLS_AES_256_GCM_SHA384: 'TLS13-AES256-GCM-SHA384',
  TLS_CHACHA20_POLY1305_SHA256: 'TLS13-CHACHA20-POLY1305-SHA256',
};
/** Built into its example programs. */
const psk = { identity: 'Client_identity', secret: new Uint8Array(Buffer.from('0123456789abcdef'.repeat(4), 'hex')) };
const features: readonly Feature[] = [
  ...(['certificate', 'client-certificate', 'psk', 'psk-certificate', 'resumption', 'hrr', 'hrr-cookie'] as const),
  ...(['key-update-ours', 'key-update-theirs', 'large-transfer'] as const),
];

function server({ choice: { feature, group, suite }, leaf, credentials, port }: Setting) {
  const args = ['-p', String(port), '-v', '4', '-l', SUITES[suite] as string];
  if (feature === 'psk') args.push('-s');
  else args.push('-c', leaf.certPath, '-k', leaf.keyPath);
  if (feature === 'psk-certificate') args.push('--psk-with-certs');
  if (feature === 'resumption') args.push('-r');
  if (feature === 'client-certificate') args.push('-A', credentials.caPath, '-F');
  else args.push('-d');
  if (feature.startsWith('hrr')) args.push(...(FORCED[group] as string).split(' '));
  // Its answer to a hello comes under new keys; what it sends back doesn't.
  args.push(feature === 'key-update-theirs' ? '-U' : '-e');
  return { program: 'wolfssl-server', args, ready: /listening on port/ };
}

function client({ choice: { feature, group, suite }, leaf, credentials, port }: Setting) {
  const args = ['-h', '127.0.0.1', '-p', String(port), '-v', '4', '-l', SUITES[suite] as string];
  // Without a share at all, the server has to ask for one.
  if (feature.startsWith('hrr')) args.push('-J');
  if (group !== 'secp384r1') args.push(...(CLIENT_GROUPS[group] as string).split(' '));
  if (feature === 'psk') args.push('-s', '--openssl-psk');
  else args.push('-A', credentials.caPath);
  if (feature === 'psk-certificate') args.push('--psk-with-certs', '--openssl-psk');
  if (feature === 'client-certificate') args.push('-c', leaf.certPath, '-k', leaf.keyPath);
  else args.push('-x');
  if (feature === 'key-update-theirs') args.push('-I');
  if (feature === 'resumption') args.push('-r');
  if (feature === 'large-transfer' || feature === 'key-update-ours') args.push('-B', String(TRANSFER_BYTES));
  return { program: 'wolfssl-client', args };
}

/** It says hello, or sends what we have to send back, and ends. */
const clientTalk: Talk = {
  exchange: hello,
  transfer: sendBack,
  keyUpdateOurs: sendBack,
  async keyUpdateTheirs(conversation) {
    await hello(conversation);
    if (conversation.ours.replies === 0) throw new Error('no KeyUpdate came');
  },
};

const serverTalk: Talk = {
  ...echo(),
  async keyUpdateTheirs({ ours }) {
    ours.send('hello from us');
    await ours.until(() => ours.text().includes('I hear you'));
    if (ours.replies === 0) throw new Error('no KeyUpdate came');
  },
};

async function hello(conversation: Conversation): Promise<void> {
  await answerHello(conversation);
  await conversation.peer.says(/hello from us/);
}

/** What it prints, it prints when it ends. */
async function answerHello({ ours }: Conversation): Promise<void> {
  await ours.until(() => /(?:hello|resuming) wolfssl!/.test(ours.text()));
  ours.send('hello from us');
}

async function sendBack({ ours, peer }: Conversation): Promise<void> {
  for (let sent = 0; sent < TRANSFER_BYTES; ) {
    await ours.until(() => ours.receivedBytes > sent);
    const received = ours.bytes();
    ours.send(received.subarray(sent));
    sent = received.length;
  }
  await peer.says(/wolfSSL Client Benchmark/);
}

export const wolfssl: Peer = {
  name: 'wolfssl',
  title: 'wolfSSL',
  programs: ['wolfssl-server', 'wolfssl-client'],
  places: ['built'],
  version: { program: 'wolfssl-client', args: ['-?'], pattern: /wolfSSL client (\S+)/ },
  ends() {
    const end: Omit<PeerEnd, 'start' | 'features' | 'talk'> = {
      groups: CLIENT_GROUPS,
      suites: allValues.suite,
      signatures: allValues.signature,
      cannot: [
        [['imported-psk', 'imported-psk-certificate'], NO_IMPORTER],
        [['half-close-ours', 'half-close-theirs'], ECHO_CLOSES],
      ],
      psk,
    };
    return {
      server: {
        ...end,
        signatures: allValues.signature.filter((name) => !RSA_PSS_PSS.includes(name)),
        cannot: [...end.cannot, [RSA_PSS_PSS, 'its server makes no such signature']],
        features,
        start: server,
        talk: serverTalk,
      },
      client: {
        ...end,
        features,
        excludes: ({ group, signature, feature }: Choice) => {
          if (feature === 'client-certificate' && RSA_PSS_PSS.includes(signature))
            return 'it makes no rsa_pss_pss signature';
          return group === 'secp384r1' && !feature.startsWith('hrr') ? 'it sends no share of P-384 unasked' : undefined;
        },
        start: client,
        beforeReconnecting: answerHello,
        talk: clientTalk,
      },
    };
  },
};
