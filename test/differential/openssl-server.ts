/** Node's OpenSSL as a TLS 1.3 server in this process: bytes in, bytes out, no socket. */
import { Duplex } from 'node:stream';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { concatBytes } from '../../tls-ext/bytes/index.ts';
import { ALPN, CIPHER_SUITES, GROUPS, serverCredential } from './credentials.ts';

const context: SecureContext = createSecureContext({
  cert: serverCredential.certPem,
  key: serverCredential.keyPem,
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: CIPHER_SUITES,
  ecdhCurve: GROUPS,
  honorCipherOrder: true,
});

/** What OpenSSL answers to these bytes, after which the transport ends. */
export interface OpensslAnswer {
  readonly bytes: Uint8Array;
  /** OpenSSL's reason, as Node spells it; absent if it has none. */
  readonly reason: string | undefined;
}

export async function askOpenssl(input: Uint8Array): Promise<OpensslAnswer> {
  const written: Uint8Array[] = [];
  const transport = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(Uint8Array.from(chunk));
      done();
    },
  });
  const socket = new TLSSocket(transport, { isServer: true, secureContext: context, ALPNProtocols: [ALPN] } as never);
  const reason = await new Promise<string | undefined>((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    socket.once('close', () => resolve(undefined));
    socket.once('end', () => resolve(undefined));
    socket.resume();
    transport.push(input);
    transport.push(null);
  });
  socket.destroy();
  transport.destroy();
  return { bytes: concatBytes(...written), reason };
}
