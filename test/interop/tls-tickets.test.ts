/** Tickets with OpenSSL's own tools: theirs resumed by our client, ours resumed by theirs. */
import { join } from 'node:path';
import { expect } from 'chai';
import { CipherSuite, createClientEngine, createServerEngine, type ResumptionPsk } from '../../tls-ext/index.ts';
import { Credentials, type LeafCredential } from './credentials.ts';
import { clientOptions, serverOptions } from './engine-options.ts';
import { connectEngine, type EngineServer, type EngineSocket, listenEngine } from './engine-socket.ts';
import { PeerProcess, versionOf } from './peer-process.ts';

const version = versionOf('openssl', 'version');
const suites = {
  TLS_AES_256_GCM_SHA384: CipherSuite.aes256GcmSha384,
  TLS_AES_128_GCM_SHA256: CipherSuite.aes128GcmSha256,
};

(version === undefined ? describe.skip : describe)(`tickets with OpenSSL (${version ?? 'not installed'})`, () => {
  let pki: Credentials;
  let server: LeafCredential;
  let peers: PeerProcess[] = [];
  let sockets: EngineSocket[] = [];
  let listeners: EngineServer[] = [];

  before(async () => {
    pki = await Credentials.create();
    server = pki.leaf('ecdsa_secp256r1_sha256');
  });
  after(() => pki.remove());
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    for (const listener of listeners) listener.close();
    for (const peer of peers) await peer.kill();
    [peers, sockets, listeners] = [[], [], []];
  });

  function run(...args: readonly string[]): PeerProcess {
    const peer = new PeerProcess('openssl', args);
    peers.push(peer);
    return peer;
  }

  for (const [name, cipherSuite] of Object.entries(suites)) {
    it(`of s_server resume with our client: ${name}`, async () => {
      const { certPath, keyPath } = server;
      const peer = run('s_server', '-accept', '127.0.0.1:0', '-tls1_3', '-cert', certPath, '-key', keyPath);
      const [, port] = await peer.says(/ACCEPT 127\.0\.0\.1:(\d+)/);
      const connect = async (psk?: ResumptionPsk) => {
        const options = clientOptions({
          cipherSuites: [cipherSuite],
          ticketRequest: { newSessionCount: 2, resumptionCount: 1 },
          ...(psk === undefined ? {} : { psk }),
        });
        const socket = await connectEngine(Number(port), createClientEngine(options), { ca: pki.ca });
        sockets.push(socket);
        return socket;
      };

      const first = await connect();
      expect((await first.handshake()).psk).to.equal('none');
      await first.until(() => first.tickets.length === 2);
      const [ticket] = first.tickets as [EngineSocket['tickets'][number]];
      first.closeWrite();
      await first.until(() => first.ended);

      const obfuscatedTicketAge = (1_000 + ticket.ageAdd) % 2 ** 32;
      const second = await connect({ ...ticket.psk, obfuscatedTicketAge });
      expect(await second.handshake()).to.include({ psk: 'resumption', peerCertificate: false });
      second.send('resumed, from us\n');
      await peer.says(/resumed, from us/);
      peer.write('resumed, from openssl\n');
      await second.until(() => second.text().includes('resumed, from openssl'));
      await second.until(() => second.tickets.length > 0);
    });

    it(`of ours resume with s_client: ${name}`, async () => {
      const handle = new Uint8Array(16).fill(0x74);
      const sessionPath = join(pki.folder, `session-${name}.pem`);
      const accept = async (psk?: ResumptionPsk) => {
        const options = serverOptions({ identity: server.identity, cipherSuites: [cipherSuite], acceptTickets: true });
        const listener = await listenEngine(() => createServerEngine(options), {
          ca: pki.ca,
          psk: ({ offered }) => {
            expect(offered).to.deep.equal([{ identity: handle }]);
            return psk === undefined ? { action: 'continue', result: 'unavailable' } : { action: 'use', psk };
          },
        });
        listeners.push(listener);
        return listener;
      };
      const connectTo = ({ port }: EngineServer, ...args: readonly string[]) =>
        run('s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', pki.caPath, '-verify_return_error', ...args);

      const firstListener = await accept();
      const firstPeer = connectTo(firstListener, '-sess_out', sessionPath);
      const first = await firstListener.accepted();
      await first.handshake();
      const psk = first.issueTicket(handle);
      // What it says of the ticket, it says with the next output.
      first.send('behind the ticket\n');
      await firstPeer.says(/behind the ticket/);
      firstPeer.write('Q\n');
      await firstPeer.ends();

      const secondListener = await accept(psk);
      const secondPeer = connectTo(secondListener, '-sess_in', sessionPath);
      const second = await secondListener.accepted();
      expect(await second.handshake()).to.include({ psk: 'resumption', peerCertificate: false });
      await secondPeer.says(/Reused, TLSv1\.3/);
      secondPeer.write('resumed, from openssl\n');
      await second.until(() => second.text().includes('resumed, from openssl'));
      second.send('resumed, from us\n');
      await secondPeer.says(/resumed, from us/);
    });
  }
});
