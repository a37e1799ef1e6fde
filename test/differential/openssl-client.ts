/** Node's OpenSSL as a TLS 1.3 client in this process: bytes in, bytes out, no socket. */
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect, createSecureContext } from 'node:tls';
import { concatBytes } from '../../tls-ext/bytes/index.ts';
import { Alert } from '../../tls-ext/index.ts';
import type { Script } from '../tls-ext/misbehaving/scripts.ts';
import type { Answer } from './compare.ts';
import { ALPN, CIPHER_SUITES, clientCredential, GROUPS } from './credentials.ts';
import { clientOutcome } from './outcome.ts';
import { ScriptedServer } from './scripted-server.ts';
import { DATA, PSK, PSK_IDENTITY } from './server-scripts.ts';

/**
 * Turns of the event loop without a word after which OpenSSL has nothing to say: it takes what is pushed within the
 * call, and its answer comes within the same turn or the next. Only then is the next thing said to it, since Node
 * drops an alert while another write is under way. Nothing here waits for a clock or a thread.
 */
const SILENT_TURNS = 4;

const BAD_RECORD_MAC = 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC';

const secureContext = createSecureContext({
  cert: clientCredential.certPem,
  key: clientCredential.keyPem,
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: CIPHER_SUITES,
  ecdhCurve: GROUPS,
});

const pskCallback: ConnectionOptions['pskCallback'] = () => ({
  psk: PSK,
  identity: new TextDecoder().decode(PSK_IDENTITY),
});

export async function askOpensslClient(script: Script, psk: boolean): Promise<Answer> {
  const server = new ScriptedServer(script);
  const written: Uint8Array[] = [];
  const transport = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(Uint8Array.from(chunk));
      done();
    },
  });
  const socket = connect({
    socket: transport,
    secureContext,
    servername: 'server.example',
    ALPNProtocols: [ALPN],
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
    ...(psk ? { pskCallback } : {}),
  });
  const received: number[] = [];
  let reason: string | undefined;
  socket.on('data', (data: Buffer) => received.push(...data));
  socket.on('error', (error: NodeJS.ErrnoException) => {
    reason ??= error.code;
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const settle = async () => {
    for (let silent = 0, before = 0; silent < SILENT_TURNS; silent++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (written.length > before) silent = -1;
      before = written.length;
    }
    return concatBytes(...written.splice(0));
  };
  for (let bytes = await settle(); bytes.length > 0; bytes = await settle()) {
    transport.push(concatBytes(...server.advance(bytes)));
  }
  let alert = server.alert();
  // Its alert may be under keys of which the server knows nothing, since it sent another share than it has.
  if (alert === undefined && server.unreadable && reason === BAD_RECORD_MAC) alert = Alert.badRecordMac;
  transport.push(null);
  socket.end();
  await closed;
  transport.destroy();
  return { outcome: clientOutcome(alert, received, DATA), reason };
}
