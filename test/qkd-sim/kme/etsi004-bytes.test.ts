import { once } from 'node:events';
import { expect } from 'chai';
import { VirtualClock } from '../virtual-clock.ts';
import {
  CHOSEN_KSID,
  close,
  delivered,
  ETSI,
  getKeyEtsi,
  getKeyQubip,
  message,
  NULL_KSID,
  openEtsi,
  openQubip,
  QUBIP,
  qos,
  statusOf,
} from './etsi004-messages.ts';
import {
  bytesOf,
  connectAs,
  exchange,
  type KmePair,
  kmePair,
  take,
  testPki,
  u32,
  untilClosed,
  wrapSupply,
} from './kme-fixture.ts';

describe('qkd-sim: 004 server, byte by byte', () => {
  let pair: KmePair;
  beforeEach(async () => {
    pair = await kmePair();
  });
  afterEach(() => pair.close());

  it('serves a whole conversation in dialect etsi, one request per connection', async () => {
    pair.fill(256);
    const opened = await exchange(pair.portA, 'siteA', openEtsi(NULL_KSID));
    // Status, seven QoS fields, mimetype with its NUL, KSID.
    expect(opened.length).to.equal(8 + 65);
    expect([...opened.subarray(0, 8)]).to.deep.equal([2, 1, 1, 0x03, 0, 0, 0, 65]);
    expect(statusOf(opened)).to.equal(1);
    expect(opened.readUInt32BE(12)).to.equal(32);
    expect(opened.subarray(40, 57).toString()).to.equal('application/json\0');
    const ksid = [...opened.subarray(57)];
    expect((ksid[6] as number) >> 4).to.equal(4);

    expect(statusOf(await exchange(pair.portA, 'siteA', getKeyEtsi(ksid, 0)))).to.equal(3);

    const joined = await exchange(pair.portB, 'siteB', openEtsi(ksid, 9999));
    expect(statusOf(joined)).to.equal(0);
    expect(joined.readUInt32BE(12), 'the stored QoS is returned').to.equal(32);
    expect([...joined.subarray(57)]).to.deep.equal(ksid);

    const first = await exchange(pair.portA, 'siteA', getKeyEtsi(ksid, 0));
    expect([...first.subarray(0, 4)]).to.deep.equal([2, 1, 1, 0x05]);
    expect(first.readUInt32BE(4)).to.equal(first.length - 8);
    const atA = delivered(first);
    const atB = delivered(await exchange(pair.portB, 'siteB', getKeyEtsi(ksid, 0)));
    expect(atA.status).to.equal(0);
    expect(atA.key).to.match(/^[0-9a-f]{64}$/);
    expect(atB).to.deep.include({ status: 0, index: 0, key: atA.key });
    const metadata = JSON.parse(atA.metadata);
    expect(metadata).to.have.all.keys('age', 'hops', 'simulated');
    expect(metadata).to.include({ hops: 0, simulated: true });
    expect(metadata.age).to.be.a('number');

    for (const [port, sae] of [
      [pair.portA, 'siteA'],
      [pair.portB, 'siteB'],
    ] as const) {
      const closed = await exchange(port, sae, close(ETSI, ksid));
      expect([...closed]).to.deep.equal([2, 1, 1, 0x09, 0, 0, 0, 4, 0, 0, 0, 0]);
    }
    expect(pair.a.streamCount + pair.b.streamCount).to.equal(0);
  });

  it('serves a whole conversation in dialect qubip on one connection', async () => {
    pair.fill(256);
    const a = await connectAs(pair.portA, 'siteA');
    const b = await connectAs(pair.portB, 'siteB');
    a.write(openQubip(CHOSEN_KSID));
    const opened = await take(a, 8 + 304);
    expect([...opened.subarray(0, 8)]).to.deep.equal([1, 0, 1, 0x03, 0, 0, 1, 48]);
    expect(statusOf(opened)).to.equal(1);
    a.write(getKeyQubip(CHOSEN_KSID, 0));
    expect([...(await take(a, 12))], 'an error is the status alone').to.deep.equal([
      1, 0, 1, 5, 0, 0, 0, 4, 0, 0, 0, 3,
    ]);
    b.write(openQubip(CHOSEN_KSID));
    expect(statusOf(await take(b, 8 + 304))).to.equal(0);
    const keyOf = async (socket: typeof a) => {
      socket.write(getKeyQubip(CHOSEN_KSID, 7, 0));
      return delivered(await take(socket, 24 + 32));
    };
    const atB = await keyOf(b);
    expect(atB).to.deep.include({ status: 0, index: 7, metadata: '' });
    expect((await keyOf(a)).key).to.equal(atB.key);
    a.write(getKeyQubip(CHOSEN_KSID, 8, 4));
    const tooSmall = await take(a, 16);
    expect(statusOf(tooSmall)).to.equal(8);
    expect(tooSmall.readUInt32BE(12)).to.be.greaterThan(10);
    a.write(close(QUBIP, CHOSEN_KSID));
    expect(statusOf(await take(a, 12))).to.equal(0);
    a.end();
    b.end();
    await Promise.all([untilClosed(a), untilClosed(b)]);
  });

  it('answers a request that arrives byte by byte', async () => {
    const socket = await connectAs(pair.portA, 'siteA');
    socket.setNoDelay(true);
    const reply = untilClosed(socket);
    for (const byte of openEtsi(NULL_KSID)) await new Promise((sent) => socket.write(Buffer.of(byte), sent));
    expect(statusOf(await reply)).to.equal(1);
  });

  it('knows the client on a resumed TLS session too', async () => {
    const first = await connectAs(pair.portA, 'siteA');
    const session = once(first, 'session') as Promise<[Buffer]>;
    first.write(openEtsi(NULL_KSID));
    first.resume();
    const [ticket] = await session;
    await untilClosed(first);
    const second = await connectAs(pair.portA, 'siteA', { session: ticket });
    expect(second.isSessionReused()).to.equal(true);
    second.write(openEtsi(NULL_KSID));
    expect(statusOf(await untilClosed(second))).to.equal(1);
  });

  it('gives an SAE that it does not serve status 4, and says so', async () => {
    const reply = await exchange(pair.portA, 'stranger', openEtsi(NULL_KSID));
    expect(statusOf(reply)).to.equal(4);
    expect(statusOf(await exchange(pair.portA, 'siteB', openEtsi(NULL_KSID)))).to.equal(4);
  });

  it('demands a scheme and a host in dialect qubip only', async () => {
    const body = (mimetype: string) => bytesOf('siteA\0', 'siteB\0', qos(32), mimetype, NULL_KSID);
    const etsi = message(ETSI, 0x02, body('application/json\0'));
    expect(statusOf(await exchange(pair.portA, 'siteA', etsi))).to.equal(1);
    const socket = await connectAs(pair.portA, 'siteA');
    socket.write(message(QUBIP, 0x02, body('application/json'.padEnd(256, '\0'))));
    expect(statusOf(await take(socket, 12))).to.equal(4);
    socket.destroy();
  });

  describe('bad input', () => {
    const cases: [string, Buffer][] = [
      ['an unknown version', bytesOf([9, 9, 9, 2], u32(4), [0, 0, 0, 0])],
      ['an unknown service', bytesOf(ETSI, [0x77], u32(4), [0, 0, 0, 0])],
      ['a reply in place of a request', bytesOf(ETSI, [0x03], u32(4), [0, 0, 0, 0])],
      ['a length of 4 GiB', bytesOf(ETSI, [0x04], u32(0xffffffff))],
      ['plaintext HTTP inside TLS', bytesOf('GET / HTTP/1.1\r\nHost: kme\r\n\r\n')],
      ['a URI without an end', message(ETSI, 0x02, bytesOf('a'.repeat(2000)))],
      ['a URI that is not UTF-8', message(ETSI, 0x02, bytesOf([0xff, 0xfe, 0], 'b\0', qos(1), '\0', NULL_KSID))],
      ['a KSID cut short', message(ETSI, 0x08, bytesOf(CHOSEN_KSID.slice(1)))],
      ['trailing bytes', message(ETSI, 0x08, bytesOf(CHOSEN_KSID, [0]))],
      ['metadata room of 4 GiB', message(ETSI, 0x04, bytesOf(CHOSEN_KSID, u32(0), u32(0xffffffff)))],
    ];
    for (const [name, bytes] of cases) {
      it(`cuts off ${name}, and goes on serving others`, async () => {
        expect((await exchange(pair.portA, 'siteA', bytes)).length).to.equal(0);
        expect(pair.events.map((event) => event.type)).to.deep.equal(['client-rejected']);
        expect(statusOf(await exchange(pair.portA, 'siteA', openEtsi(NULL_KSID)))).to.equal(1);
      });
    }

    it('cuts off a client that pipelines without end', async () => {
      const socket = await connectAs(pair.portA, 'siteA');
      const request = close(QUBIP, CHOSEN_KSID);
      socket.write(Buffer.concat(new Array<Buffer>(40).fill(request)));
      await untilClosed(socket);
      expect(pair.events.at(-1)).to.include({ type: 'client-rejected' });
    });

    it('refuses a certificate of another CA, and none at all', async () => {
      const { forged, ca } = await testPki();
      for (const credential of [{ cert: forged.certPem, key: forged.keyPem }, {}]) {
        const { connect } = await import('node:tls');
        const socket = connect({ host: '127.0.0.1', port: pair.portA, ca: ca.certPem, ...credential });
        socket.on('secureConnect', () => socket.write(openEtsi(NULL_KSID)));
        expect((await untilClosed(socket)).length).to.equal(0);
      }
      expect(pair.events.map((event) => event.type)).to.deep.equal(['client-rejected', 'client-rejected']);
    });

    it('survives a client that says nothing to it in TLS', async () => {
      const { connect } = await import('node:net');
      const socket = connect(pair.portA, '127.0.0.1');
      socket.end('hello\n');
      socket.resume();
      await once(socket, 'close');
      expect(statusOf(await exchange(pair.portA, 'siteA', openEtsi(NULL_KSID)))).to.equal(1);
    });
  });

  describe('slow clients', () => {
    let clock: VirtualClock;
    let slow: KmePair;
    beforeEach(async () => {
      clock = new VirtualClock();
      slow = await kmePair({ clock, settings: { requestTimeoutMs: 5_000 } });
    });
    afterEach(() => slow.close());

    /** The server has set the deadline of a connection. */
    async function served(timers: number): Promise<void> {
      while (clock.pendingTimers < timers) await new Promise((resolve) => setImmediate(resolve));
    }
    const reasons = () => slow.events.map((event) => (event.type === 'client-rejected' ? event.reason : event.type));

    it('are cut off when they send nothing', async () => {
      const socket = await connectAs(slow.portA, 'siteA');
      await served(1);
      await clock.advance(5_000);
      expect((await untilClosed(socket)).length).to.equal(0);
      expect(reasons()).to.deep.equal(['the request took too long']);
      expect(clock.pendingTimers).to.equal(0);
    });

    it('get no more time by sending a byte now and then', async () => {
      const socket = await connectAs(slow.portA, 'siteA');
      await served(1);
      for (const byte of openEtsi(NULL_KSID).subarray(0, 4)) {
        await new Promise((sent) => socket.write(Buffer.of(byte), sent));
        await clock.advance(1_250);
      }
      await untilClosed(socket);
      expect(reasons()).to.deep.equal(['the request took too long']);
    });

    it('may keep a connection of dialect qubip between requests only so long', async () => {
      const socket = await connectAs(slow.portA, 'siteA');
      socket.write(close(QUBIP, CHOSEN_KSID));
      expect(statusOf(await take(socket, 12))).to.equal(4);
      await served(1);
      await clock.advance(5_000);
      await untilClosed(socket);
      expect(reasons().join()).to.match(/^(the next request|taking the reply) took too long$/);
    });
  });

  for (const [server, portOf] of [
    ['004', ({ portA }) => portA],
    ['HTTPS', ({ httpsA }) => httpsA],
  ] as const satisfies readonly [string, (pair: KmePair) => number][]) {
    it(`breaks its connections when it restarts, and serves on: ${server}`, async () => {
      // No other limit ends them before this test is given up.
      const patient = await kmePair({ settings: { requestTimeoutMs: 60_000, handshakeTimeoutMs: 60_000 } });
      try {
        // As the client sees it: with TLS 1.3 the server has yet to read the end of the handshake.
        const early = await connectAs(portOf(patient), 'siteA');
        const earlyClosed = untilClosed(early);
        patient.a.restart();
        await earlyClosed;
        const late = await connectAs(portOf(patient), 'siteA');
        await once(late, 'session');
        const lateClosed = untilClosed(late);
        patient.a.restart();
        await lateClosed;
        expect(statusOf(await exchange(patient.portA, 'siteA', openEtsi(NULL_KSID)))).to.equal(1);
      } finally {
        await patient.close();
      }
    });
  }

  it('does not spend a key on a client that has left while it waited', async () => {
    let askedForKey = () => {};
    const asked = new Promise<void>((resolve) => {
      askedForKey = resolve;
    });
    const watched = await kmePair({
      wrapPeer: (peer) => ({
        ...peer,
        supply: wrapSupply(peer.supply, {
          reserve(purpose, lengthBytes) {
            askedForKey();
            return peer.supply.reserve(purpose, lengthBytes);
          },
        }),
      }),
    });
    try {
      const ksid = [...(await exchange(watched.portA, 'siteA', openEtsi(NULL_KSID, 32, 30_000))).subarray(57)];
      await exchange(watched.portB, 'siteB', openEtsi(ksid));
      const impatient = await connectAs(watched.portA, 'siteA');
      impatient.write(getKeyEtsi(ksid, 0));
      await asked;
      impatient.end();
      await untilClosed(impatient);
      watched.fill(128);
      const reply = await exchange(watched.portA, 'siteA', getKeyEtsi(ksid, 0));
      expect(delivered(reply)).to.include({ status: 0, index: 0 });
      expect(watched.events.filter((event) => event.type === 'key-delivered').length).to.equal(1);
    } finally {
      await watched.close();
    }
  });
});
