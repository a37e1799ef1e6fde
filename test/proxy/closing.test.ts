/** A connection that closes while its rekey is unanswered: the engine has no clock, so the deadline is the adapter's. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { mock } from 'node:test';
import { expect } from 'chai';
import { TlsConnection } from '../../proxy/data-path/index.ts';
import { LINGER_MS } from '../../proxy/data-path/tls-connection.ts';
import { Alert, createClientEngine, createServerEngine } from '../../tls-ext/index.ts';
import { clientOptions, Side, serverIdentity, serverOptions } from '../tls-ext/engine/engine-pair.ts';
import { rekeyKey } from '../tls-ext/engine/rekey-pair.ts';

describe('a connection that closes while a rekey is under way', () => {
  let server: Server;
  let socket: Socket | undefined;
  let peer: Side;

  /** A TLS server whose owner looks for keys for ever. */
  beforeEach(async () => {
    const engine = createServerEngine(serverOptions({ qkd: true, offerRekey: true }));
    peer = new Side(engine, {
      psk: () => ({ action: 'continue', result: 'unavailable' }),
      rekeyKey: () => 'later',
    });
    server = createServer((accepted) => {
      socket = accepted.on('error', () => {});
      peer.take(peer.engine.start());
      accepted.on('data', (bytes) => {
        peer.take(peer.engine.receive(bytes));
        flush();
        server.emit('heard');
      });
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
  });

  afterEach(async () => {
    mock.timers.reset();
    socket?.destroy();
    server.close();
    await once(server, 'close');
  });

  const flush = () => {
    for (const bytes of peer.outbox.splice(0)) socket?.write(bytes);
  };

  /** Connects, and resolves when the server has heard of the request. */
  async function asked() {
    const engine = createClientEngine(
      clientOptions({ offerRekey: true, qkdOffer: { offer: 'none', reason: 'pool_empty' } }),
    );
    const { port } = server.address() as AddressInfo;
    let over!: (failure: Error | undefined) => void;
    const ended = new Promise<Error | undefined>((resolve) => {
      over = resolve;
    });
    const connection = TlsConnection.dial(
      { host: '127.0.0.1', port },
      {
        engine,
        handshakeTimeoutMs: 20_000,
        handler: {
          peerCertificate: () => connection.provideVerdict({ ok: true, publicKeySpki: serverIdentity.spki }),
          handshakeComplete: () => connection.rekey(rekeyKey(1)),
          ended: over,
        },
      },
    );
    while (peer.event('rekey-key-required') === undefined) await once(server, 'heard');
    return { connection, ended };
  }

  it('says close_notify when the answer has come', async () => {
    const { connection, ended } = await asked();
    connection.close();
    expect(connection.state).to.equal('open');
    peer.take(peer.engine.provideRekeyKey(rekeyKey(1)));
    flush();
    while (peer.event('closed') === undefined) await once(server, 'heard');
    expect(peer.event('rekeyed')).to.include({ epoch: 1, status: 'used' });
    socket?.end();
    expect(await ended).to.equal(undefined);
  });

  it('aborts where none comes in time: the peer reads an alert, and no orderly end', async () => {
    const { connection, ended } = await asked();
    mock.timers.enable({ apis: ['setTimeout'] });
    const reason = new Error('why it was closed');
    connection.close(reason);
    mock.timers.tick(LINGER_MS - 1);
    expect(connection.state).to.equal('open');
    mock.timers.tick(1);
    while (peer.error === undefined) await once(server, 'heard');
    expect(peer.error).to.include({ code: 'ERR_TLS_PEER_ALERT', alert: Alert.internalError });
    expect(peer.event('closed')).to.equal(undefined);
    socket?.end();
    expect(await ended).to.equal(reason);
  });
});
