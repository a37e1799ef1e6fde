// One end of a tunnel made of `node:tls` and pipes: the obvious way to write it, to compare with.
import { readFileSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';

const { role, port, target, cert, key, ca, handshake, pskIdentity, pskHex } = JSON.parse(process.argv[2]);
const psk = handshake === 'psk';
const shared = {
  minVersion: 'TLSv1.3',
  ecdhCurve: 'X25519',
  ciphers: psk ? 'TLS_AES_128_GCM_SHA256' : 'TLS_AES_256_GCM_SHA384',
  ...(psk ? {} : { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) }),
};
const secret = Buffer.from(pskHex, 'hex');
const join = (a, b) => {
  a.pipe(b).pipe(a);
  a.on('error', () => b.destroy());
  b.on('error', () => a.destroy());
};
if (role === 'server') {
  const server = tls.createServer(
    {
      ...shared,
      ...(psk ? { pskCallback: () => secret } : { requestCert: true, rejectUnauthorized: true }),
      noDelay: true,
    },
    (socket) => join(socket, net.connect({ port: target, host: '127.0.0.1', noDelay: true })),
  );
  server.listen(port, '127.0.0.1');
} else {
  const context = tls.createSecureContext(shared);
  net
    .createServer({ noDelay: true, allowHalfOpen: true }, (socket) =>
      join(
        socket,
        tls.connect({
          ...shared,
          secureContext: context,
          port: target,
          host: '127.0.0.1',
          ...(psk ? { pskCallback: () => ({ psk: secret, identity: pskIdentity }) } : {}),
          checkServerIdentity: () => undefined,
        }),
      ),
    )
    .listen(port, '127.0.0.1');
}
