import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { type DeliveredKey, KdiErrorCode, type StreamAnnouncement } from '../../../kdi-client/index.ts';
import { hexOf, SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';
import { closed, eachRequest, etsi004Bench, KSID, key, message, opened, perRequest, u32 } from './source-bench.ts';

const indexOf = (request: Uint8Array): number => Buffer.from(request).readUInt32BE(24);
const empty = message('etsi', '05', u32(2));
const KEY = 'a7'.repeat(32);

describe('kdi-client/etsi004: streams', () => {
  const { serve, sourceOf, codeOf } = etsi004Bench();

  /** The indices that a drawer asks for while a KME answers this way: 'lost' breaks the connection, 'empty' is status 2. */
  async function indicesAsked(...answers: readonly ('lost' | 'empty' | 'key')[]): Promise<number[]> {
    const asked: number[] = [];
    const kme = await serve(
      perRequest((request, socket) => {
        if (request[3] !== 4) return request[3] === 2 ? opened() : closed;
        const answer = answers[asked.push(indexOf(request)) - 1];
        if (answer === 'lost') socket.destroy();
        return answer === 'lost' ? undefined : answer === 'empty' ? empty : key(indexOf(request), KEY);
      }),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    for (const answer of answers) {
      const code = await codeOf(stream.draw(1));
      expect(code).to.equal({ lost: KdiErrorCode.closed, empty: KdiErrorCode.insufficientKey, key: undefined }[answer]);
    }
    return asked;
  }

  it('skip one chunk over a lost reply, not one with each time that the KME is empty', async () => {
    expect(await indicesAsked('lost', 'empty', 'empty', 'empty', 'key')).to.deep.equal([0, 0, 1, 1, 1]);
  });

  it('skip none where the chunk came after all', async () => {
    expect(await indicesAsked('lost', 'key', 'empty', 'key')).to.deep.equal([0, 0, 1, 1]);
  });

  it('skip none where the KME was only empty', async () => {
    expect(await indicesAsked('empty', 'empty', 'key', 'empty', 'key')).to.deep.equal([0, 0, 0, 1, 1]);
  });

  it('give up a call that is under way when they are closed, and tell the KME after it', async () => {
    const services: number[] = [];
    let hung: Socket | undefined;
    const kme = await serve(
      perRequest((request, socket) => {
        services.push(request[3] as number);
        if (request[3] !== 4) return request[3] === 2 ? opened() : closed;
        hung = socket;
        return undefined;
      }),
    );
    const source = sourceOf(kme);
    const stream = await source.openDraw('siteB');
    const calls = [codeOf(stream.draw(1)), codeOf(stream.draw(1))];
    while (hung === undefined) await settle();
    await Promise.all([stream.close(), stream.close()]);
    expect(await Promise.all(calls)).to.deep.equal([KdiErrorCode.aborted, KdiErrorCode.stream]);
    expect(services, 'one CLOSE, and the second draw was never sent').to.deep.equal([2, 4, 8]);
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.stream);
  });

  it('hold nothing ahead where they are closed at the moment that a chunk comes', async () => {
    const clock = new (class extends VirtualClock {
      atNow: (() => void) | undefined;
      override now(): number {
        const { atNow } = this;
        this.atNow = undefined;
        atNow?.();
        return super.now();
      }
    })();
    let closing: Promise<void> | undefined;
    const kme = await serve(
      perRequest((request) => {
        if (request[3] === 2) return opened('etsi', 0, KSID, 64);
        if (request[3] !== 4) return closed;
        // The next to ask the time is who cuts the chunk into keys.
        clock.atNow = () => {
          closing = stream.close();
        };
        return key(0, KEY + KEY);
      }),
    );
    const source = sourceOf(kme, { clock, qos: { keysPerChunk: 2 } });
    const announcement = (await source.openDraw('siteB')).announcement as StreamAnnouncement;
    const stream = await source.openLookup('siteB', { announcement });
    const reference = { api: 'etsi004', drawer: 'siteB', ksid: announcement.ksid, index: 0, slice: 0 } as const;
    (await stream.lookup(reference)).secret.wipe();
    expect(closing).to.not.equal(undefined);
    await closing;
    expect(clock.pending, 'the timer of what is held').to.equal(0);
  });

  /** What is wiped while `step` runs: 'bytes' that hold the key, and keys. */
  async function wipedBy(step: () => Promise<unknown>): Promise<string[]> {
    const wiped: string[] = [];
    const { wipe } = SecretBytes.prototype;
    // What came from the socket is a Buffer, which has a `fill` of its own.
    const prototypes = [Uint8Array.prototype, Buffer.prototype] as const;
    const fills = prototypes.map(({ fill }) => fill);
    for (const [i, prototype] of prototypes.entries()) {
      prototype.fill = function (this: Uint8Array, ...args: [number]) {
        if (args.length === 1 && args[0] === 0 && hexOf(this).includes(KEY)) wiped.push('bytes');
        return (fills[i] as typeof prototype.fill).apply(this, args);
      } as never;
    }
    SecretBytes.prototype.wipe = function (this: SecretBytes) {
      if (!this.wiped) wiped.push('key');
      wipe.call(this);
    };
    try {
      await step();
    } finally {
      for (const [i, prototype] of prototypes.entries()) prototype.fill = fills[i] as never;
      SecretBytes.prototype.wipe = wipe;
    }
    return wiped.sort();
  }

  it('wipe what they received, and the keys of a chunk that they refuse', async () => {
    const kme = await serve(
      perRequest((request) =>
        request[3] === 2 ? opened('etsi', 0, KSID, 64) : request[3] === 4 ? key(0, KEY + KEY) : closed,
      ),
    );
    const stream = await sourceOf(kme, { qos: { keysPerChunk: 2 } }).openDraw('siteB');
    let drawn: DeliveredKey[] = [];
    const wiped = await wipedBy(async () => {
      drawn = await stream.draw(1);
    });
    expect(wiped, 'of the socket, and of the reply').to.deep.equal(['bytes', 'bytes']);
    for (const { secret } of drawn) secret.wipe();
    const again = await wipedBy(async () => {
      expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.duplicateKey);
    });
    expect(again).to.deep.equal(['bytes', 'bytes', 'key', 'key']);
  });

  const reply = key(0, KEY + KEY);
  for (const [name, sent, wiped] of [
    ['half a reply', reply.subarray(0, 70), ['bytes', 'bytes']],
    ['a second reply', Buffer.concat([reply, reply]), ['bytes', 'bytes', 'bytes', 'key', 'key']],
    ['half of a second one', Buffer.concat([reply, reply.subarray(0, 70)]), ['bytes', 'bytes', 'bytes', 'key', 'key']],
  ] as const) {
    it(`wipe ${name}`, async () => {
      const kme = await serve(
        perRequest((request) => (request[3] === 2 ? opened('etsi', 0, KSID, 64) : request[3] === 4 ? sent : closed)),
      );
      const stream = await sourceOf(kme, { qos: { keysPerChunk: 2 } }).openDraw('siteB');
      const draw = async () => {
        const drawn = await stream.draw(1).catch(() => []);
        for (const { secret } of drawn) secret.wipe();
      };
      expect(await wipedBy(draw)).to.deep.equal(wiped);
    });
  }

  it('wipe what an answerer holds ahead when they are closed, and leave no timer', async () => {
    const secrets: SecretBytes[] = [];
    const { wipe } = SecretBytes.prototype;
    const kme = await serve(
      perRequest((request) =>
        request[3] === 2 ? opened('etsi', 0, KSID, 64) : request[3] === 4 ? key(0, KEY + KEY) : closed,
      ),
    );
    const source = sourceOf(kme, { qos: { keysPerChunk: 2 } });
    const announcement = (await source.openDraw('siteB')).announcement as StreamAnnouncement;
    const stream = await source.openLookup('siteB', { announcement });
    const reference = { api: 'etsi004', drawer: 'siteB', ksid: announcement.ksid, index: 0, slice: 0 } as const;
    const { secret } = await stream.lookup(reference);
    SecretBytes.prototype.wipe = function (this: SecretBytes) {
      secrets.push(this);
      wipe.call(this);
    };
    try {
      await stream.close();
    } finally {
      SecretBytes.prototype.wipe = wipe;
    }
    expect(secrets, 'the slice that nobody asked for').to.have.length(1);
    expect(secret.wiped, 'what was given is its owner’s').to.equal(false);
    secret.wipe();
  });

  it('make a full handshake after one whose resumed session was refused', async () => {
    const resumed: boolean[] = [];
    const kme = await serve((socket) => {
      const tlsSocket = socket as TLSSocket;
      resumed.push(tlsSocket.isSessionReused());
      // As of a server that lost its session keys, and takes that badly.
      if (tlsSocket.isSessionReused()) kme.reset();
      else perRequest((request) => (request[3] === 2 ? opened() : request[3] === 4 ? key(0, KEY) : closed))(socket, 0);
    });
    const stream = await sourceOf(kme).openDraw('siteB');
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.closed);
    expect(await stream.draw(1)).to.have.length(1);
    expect(resumed).to.deep.equal([false, true, false]);
  });

  it('do not ask twice over a kept connection that broke in mid-reply', async () => {
    const reply = key(0, KEY, '', 'qubip');
    let asked = 0;
    const kme = await serve(
      eachRequest((request, socket) => {
        if (request[3] === 2) return opened('qubip');
        if (request[3] !== 4) return message('qubip', '09', u32(0));
        asked++;
        socket.end(reply.subarray(0, 20));
        return undefined;
      }),
    );
    const stream = await sourceOf(kme, {}, '?dialect=qubip').openDraw('siteB');
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.closed);
    expect(asked).to.equal(1);
  });
});
