import { allValues, type Feature } from '../axes.ts';
import { ourPsk, type Peer, type PeerEnd, type Setting } from '../peer.ts';
import { type Conversation, someText, type Talk } from '../talk.ts';
import { ECHO_CLOSES, HYBRID_GROUPS, ML_DSA, NO_IMPORTER, NO_RFC9973, RSA_PSS_PSS } from './reasons.ts';

const GROUPS = { x25519: 'x25519', secp256r1: 'secp256r1', secp384r1: 'secp384r1' };
const bothRoles: readonly Feature[] = ['certificate', 'client-certificate', 'psk', 'resumption', 'hrr'];
const psk = [`psk=${Buffer.from(ourPsk.secret).toString('hex')}`, `psk_identity=${ourPsk.identity}`];

function server({ choice: { feature }, groups, leaf, credentials, port }: Setting) {
  const args = ['server_addr=127.0.0.1', `server_port=${port}`, 'force_version=tls13', `groups=${groups.join(',')}`];
  if (feature === 'psk') args.push(...psk, 'tls13_kex_modes=psk_ephemeral', 'ca_file=none', 'crt_file=none');
  else args.push(`crt_file=${leaf.certPath}`, `key_file=${leaf.keyPath}`, `ca_file=${credentials.caPath}`);
  args.push(`auth_mode=${feature === 'client-certificate' ? 'required' : 'none'}`);
  return { program: 'mbedtls-server', args, ready: /Waiting for a remote connection/ };
}

function client({ choice: { feature }, groups, leaf, credentials, port }: Setting) {
  const args = ['server_addr=127.0.0.1', `server_port=${port}`, 'server_name=localhost', 'force_version=tls13'];
  args.push(`groups=${groups.join(',')}`);
  if (feature === 'psk') args.push(...psk, 'tls13_kex_modes=psk_ephemeral', 'ca_file=none');
  else args.push(`ca_file=${credentials.caPath}`, 'auth_mode=required');
  if (feature === 'client-certificate') args.push(`crt_file=${leaf.certPath}`, `key_file=${leaf.keyPath}`);
  else args.push('crt_file=none', 'key_file=none');
  if (feature === 'resumption') args.push('reconnect=1', 'new_session_tickets=1');
  return { program: 'mbedtls-client', args };
}

/** A web server whose one page says with which suite. */
const serverTalk: Talk = {
  async exchange({ ours }) {
    ours.send('GET / HTTP/1.0\r\n\r\n');
    await ours.until(() => /^HTTP\/1\.0 200 OK[\s\S]*Successful connection/.test(ours.text()));
  },
};

const clientTalk: Talk = {
  async exchange(conversation) {
    const body = await answer(conversation);
    await conversation.peer.prints(body, 0);
  },
};

async function answer({ ours }: Conversation): Promise<string> {
  const body = someText(40);
  await ours.until(() => ours.text().includes('\r\n\r\n'));
  ours.send(`HTTP/1.0 200 OK\r\n\r\n${body}`);
  ours.closeWrite();
  return body;
}

export const mbedtls: Peer = {
  name: 'mbedtls',
  title: 'Mbed TLS',
  programs: ['mbedtls-server', 'mbedtls-client'],
  places: ['built'],
  version: { program: 'mbedtls-client', args: ['build_version=1'], pattern: /Mbed TLS (\d\S+)/ },
  ends() {
    const end: Omit<PeerEnd, 'start' | 'features' | 'talk'> = {
      groups: GROUPS,
      suites: allValues.suite,
      signatures: allValues.signature.filter((name) => name.startsWith('ecdsa') || name.startsWith('rsa_pss_rsae')),
      cannot: [
        [HYBRID_GROUPS, 'it has no ML-KEM'],
        [[...ML_DSA, 'ed25519', ...RSA_PSS_PSS], 'its TLS has ECDSA and rsa_pss_rsae only'],
        [['imported-psk', 'imported-psk-certificate'], NO_IMPORTER],
        [['psk-certificate'], NO_RFC9973],
        [['key-update-ours', 'key-update-theirs'], 'it has no KeyUpdate'],
        [['large-transfer'], 'its programs exchange one short request and its answer'],
        [['half-close-ours', 'half-close-theirs'], ECHO_CLOSES],
      ],
    };
    return {
      server: {
        ...end,
        features: bothRoles,
        cannot: [...end.cannot, [['hrr-cookie'], 'its HelloRetryRequest has no cookie']],
        start: server,
        talk: serverTalk,
      },
      client: {
        ...end,
        features: bothRoles,
        cannot: [...end.cannot, [['hrr-cookie'], 'it refuses the cookie with unsupported_extension']],
        start: client,
        beforeReconnecting: async (conversation) => {
          await answer(conversation);
        },
        talk: clientTalk,
      },
    };
  },
};
