/**
 * Node's own TLS as a bridge between a connection and a plain socket, both closes passed on. Runs on every
 * version of Node that the matrix knows, so it is JavaScript. Arguments: one JSON object.
 * A server prints where it listens and connects to `backendPort`; a client prints where it listens for plaintext.
 */
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';

const options = JSON.parse(process.argv[2]);
const read = (path) => (path === undefined ? undefined : readFileSync(path));
const psk = options.psk && { identity: options.psk.identity, psk: Buffer.from(options.psk.secret, 'hex') };
const context = {
  minVersion: 'TLSv1.3',
  cert: read(options.cert),
  key: read(options.key),
  ca: read(options.ca),
  ecdhCurve: options.groups.join(':'),
  ...(options.signatures ? { sigalgs: options.signatures } : {}),
  ...(psk ? { ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256' } : {}),
};

/** Pipes both ways; an end on one side is an end on the other, and no more. */
function join(one, other) {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ]) {
    from.on('error', (error) => {
      console.error(error.message);
      to.destroy();
    });
    from.pipe(to);
  }
}

function listen(server) {
  server.on('tlsClientError', (error) => console.error(error.message));
  server.listen(0, '127.0.0.1', () => console.log(`listening ${server.address().port}`));
}

if (options.role === 'server') {
  const server = tls.createServer(
    {
      ...context,
      allowHalfOpen: true,
      requestCert: options.requestCert,
      rejectUnauthorized: options.requestCert,
      ...(psk ? { pskCallback: (_, identity) => (identity === psk.identity ? psk.psk : null) } : {}),
    },
    (socket) => join(socket, net.connect({ port: options.backendPort, host: '127.0.0.1', allowHalfOpen: true })),
  );
  listen(server);
} else {
  let session;
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (plain) => {
    const socket = tls.connect({
      ...context,
      ...(session ? { session } : {}),
      port: options.port,
      host: '127.0.0.1',
      servername: 'localhost',
      allowHalfOpen: true,
      ...(psk ? { pskCallback: () => psk, checkServerIdentity: () => undefined } : {}),
    });
    socket.on('session', (fresh) => {
      session = fresh;
    });
    join(socket, plain);
    plain.resume();
  });
  listen(server);
}
