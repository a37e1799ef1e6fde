import type { Socket } from 'node:net';
import { expect } from 'chai';
import { KdiErrorCode } from '../../../kdi-client/index.ts';
import { hexOf } from '../../../tls-ext/bytes/index.ts';
import type { ScriptedKme } from '../support/scripted-kme.ts';
import { settle, VirtualClock } from '../support/virtual-clock.ts';
import { eachRequest, etsi004Bench, key, message, opened, perRequest, u32 } from './source-bench.ts';

const KSIDS = ['11', '22', '33', '44', '55', '66'].map((byte) => byte.repeat(16));
const closed = message('qubip', '09', '00000000');
const chunk = (index: number, byte = 'aa'): Uint8Array => key(index, byte.repeat(32), '', 'qubip');
const indexOf = (request: Uint8Array): number => Buffer.from(request).readUInt32BE(24);

describe('kdi-client/etsi004: kept connections of dialect qubip', () => {
  const { serve, sourceOf, codeOf } = etsi004Bench();
  const QUBIP = '?dialect=qubip';

  /** Answers everything rightly; `getKey` may do otherwise. */
  const serving = (getKey = (request: Uint8Array): Uint8Array | undefined => chunk(indexOf(request))) => {
    let streams = 0;
    return (request: Uint8Array): Uint8Array | undefined => {
      switch (request[3]) {
        case 2:
          return opened('qubip', 0, KSIDS[streams++ % KSIDS.length] as string);
        case 4:
          return getKey(request);
        default:
          return closed;
      }
    };
  };
  const untilNoneOpen = async (kme: ScriptedKme): Promise<void> => {
    while (kme.open > 0) await settle();
  };

  it('one connection serves opening, drawing and closing', async () => {
    const kme = await serve(eachRequest(serving()));
    const source = sourceOf(kme, {}, QUBIP);
    const stream = await source.openDraw('siteB');
    const drawn = [await stream.draw(1), await stream.draw(1), await stream.draw(1)].flat();
    expect(drawn.map(({ reference }) => 'index' in reference && reference.index)).to.deep.equal([0, 1, 2]);
    await stream.close();
    expect(kme.connections).to.equal(1);
    await source.close();
    await untilNoneOpen(kme);
  });

  it('dialect etsi has a connection for each request, even at a server that would keep it', async () => {
    const kme = await serve(
      eachRequest((request) =>
        request[3] === 2
          ? opened()
          : request[3] === 4
            ? key(indexOf(request), 'aa'.repeat(32))
            : message('etsi', '09', '00000000'),
      ),
    );
    const stream = await sourceOf(kme).openDraw('siteB');
    await stream.draw(1);
    await stream.draw(1);
    expect(kme.connections).to.equal(3);
    await stream.close();
    await untilNoneOpen(kme);
  });

  it('an idle one is closed after a while, and leaves no timer', async () => {
    const clock = new VirtualClock();
    const kme = await serve(eachRequest(serving()));
    const source = sourceOf(kme, { clock, keepConnectionMs: 700 }, QUBIP);
    const stream = await source.openDraw('siteB');
    await clock.advance(699);
    expect(kme.open).to.equal(1);
    await stream.draw(1);
    await clock.advance(699);
    expect(kme.open).to.equal(1);
    await clock.advance(1);
    await untilNoneOpen(kme);
    expect(clock.pending).to.equal(0);
    expect(await stream.draw(1)).to.have.length(1);
    expect(kme.connections).to.equal(2);
  });

  it('none is kept where that is set', async () => {
    const kme = await serve(eachRequest(serving()));
    const stream = await sourceOf(kme, { keepConnectionMs: 0 }, QUBIP).openDraw('siteB');
    await stream.draw(1);
    expect(kme.connections).to.equal(2);
    await untilNoneOpen(kme);
  });

  it('several calls at once have a connection each, and four at most stay', async () => {
    const held: (() => void)[] = [];
    const kme = await serve(
      eachRequest((request, socket) => {
        const reply = serving()(request) as Uint8Array;
        if (request[3] !== 2) return reply;
        const ksid = KSIDS[held.length] as string;
        held.push(() => socket.write(opened('qubip', 0, ksid)));
        return undefined;
      }),
    );
    const source = sourceOf(kme, {}, QUBIP);
    const opening = Promise.allSettled([1, 2, 3, 4, 5, 6].map((i) => source.openDraw(`site${i}`)));
    while (held.length < 6) await settle();
    for (const answer of held) answer();
    await opening;
    expect(kme.connections).to.equal(6);
    while (kme.open > 4) await settle();
    expect(kme.open).to.equal(4);
  });

  it('a server that closes after every reply costs a few requests twice, and is not tried again', async () => {
    let asked = 0;
    const kme = await serve(
      perRequest((request) => {
        asked++;
        return serving()(request);
      }),
    );
    const stream = await sourceOf(kme, {}, QUBIP).openDraw('siteB');
    const drawn = [];
    for (let i = 0; i < 8; i++) drawn.push(...(await stream.draw(1)));
    expect(drawn.map(({ reference }) => 'index' in reference && reference.index)).to.deep.equal([
      0, 1, 2, 3, 4, 5, 6, 7,
    ]);
    // No request reached it twice: it had closed before.
    expect(asked).to.equal(9);
    expect(kme.connections).to.equal(9);
  });

  /** Answers `most` requests on each connection, and breaks it at the next one; counts the requests of each kind. */
  const breakingAfter = (most: number) => {
    const asked = { draws: 0 };
    const script = (socket: Socket): void => {
      let answered = 0;
      eachRequest((request) => {
        if (request[3] === 4) asked.draws++;
        if (answered++ < most) return serving()(request);
        socket.destroy();
        return undefined;
      })(socket, 0);
    };
    return { asked, script };
  };

  it('a server that breaks kept ones at the next request is asked twice three times, and then once', async () => {
    const { asked, script } = breakingAfter(1);
    const kme = await serve(script);
    const stream = await sourceOf(kme, {}, QUBIP).openDraw('siteB');
    const counts: number[] = [];
    for (let i = 0; i < 5; i++) {
      await stream.draw(1);
      counts.push(asked.draws);
    }
    expect(counts).to.deep.equal([2, 4, 6, 7, 8]);
  });

  it('a server that breaks some of them is one that keeps the others', async () => {
    const { asked, script } = breakingAfter(2);
    const kme = await serve(script);
    const stream = await sourceOf(kme, {}, QUBIP).openDraw('siteB');
    for (let i = 0; i < 12; i++) await stream.draw(1);
    // The first connection takes OPEN_CONNECT and a draw; each later one two draws, and a third in vain.
    expect(asked.draws).to.equal(12 + 6);
    expect(kme.connections).to.equal(7);
  });

  it('those that a server ends before they are used again count as well', async () => {
    const clock = new VirtualClock();
    const sockets: Socket[] = [];
    const kme = await serve((socket) => {
      sockets.push(socket);
      eachRequest(serving())(socket, 0);
    });
    const stream = await sourceOf(kme, { clock }, QUBIP).openDraw('siteB');
    const kept: boolean[] = [];
    for (let i = 0; i < 5; i++) {
      await stream.draw(1);
      // What is kept has a timer.
      kept.push(clock.pending > 0);
      for (const socket of sockets.splice(0)) socket.end();
      while (clock.pending > 0) await settle();
    }
    expect(kept).to.deep.equal([true, true, true, false, false]);
  });

  it('a call has one deadline, whichever connection it ends on', async () => {
    const clock = new VirtualClock();
    const held: Socket[] = [];
    const kme = await serve(
      eachRequest((request, socket) => {
        if (request[3] !== 4) return serving()(request);
        held.push(socket);
        return undefined;
      }),
    );
    const stream = await sourceOf(kme, { clock }, QUBIP).openDraw('siteB');
    let outcome: unknown;
    const draw = codeOf(stream.draw(1)).then((code) => {
      outcome = code;
    });
    while (held.length < 1) await settle();
    await clock.advance(3_000);
    held[0]!.destroy();
    while (held.length < 2) await settle();
    await clock.advance(999);
    expect(outcome).to.equal(undefined);
    await clock.advance(1);
    await draw;
    expect(outcome).to.equal(KdiErrorCode.timeout);
  });

  it('one that brought a reply which can not be read is not kept', async () => {
    const kme = await serve(
      eachRequest(serving((request) => message('qubip', '05', `${hexOf(chunk(indexOf(request)).subarray(8))} 00`))),
    );
    const stream = await sourceOf(kme, {}, QUBIP).openDraw('siteB');
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.malformed);
    await untilNoneOpen(kme);
  });

  it('a call that was given up before it began is not made', async () => {
    const kme = await serve(eachRequest(serving()));
    const source = sourceOf(kme, {}, QUBIP);
    const stream = await source.openDraw('siteB');
    expect(await codeOf(stream.draw(1, { signal: AbortSignal.abort() }))).to.equal(KdiErrorCode.aborted);
    expect(await codeOf(source.openDraw('siteB', { signal: AbortSignal.abort() }))).to.equal(KdiErrorCode.aborted);
    const [drawn] = await stream.draw(1);
    expect(drawn!.reference).to.include({ index: 0 });
    expect(kme.connections).to.equal(1);
  });

  it('bytes that nobody asked for are not taken for the next reply', async () => {
    let next: (() => void) | undefined;
    const kme = await serve(
      eachRequest((request, socket) => {
        if (request[3] === 4) return chunk(indexOf(request));
        next = () => socket.write(chunk(0, 'ee'));
        return serving()(request);
      }),
    );
    // By itself an idle one would be closed only later.
    const stream = await sourceOf(kme, { clock: new VirtualClock() }, QUBIP).openDraw('siteB');
    next?.();
    await untilNoneOpen(kme);
    const [drawn] = await stream.draw(1);
    expect(hexOf(drawn!.secret.expose())).to.equal('aa'.repeat(32));
    expect(kme.connections).to.equal(2);
  });

  it('two replies to one request: the first counts, and the connection is given up', async () => {
    const kme = await serve(
      eachRequest(serving((request) => Buffer.concat([chunk(indexOf(request)), chunk(indexOf(request) + 1, 'ee')]))),
    );
    const stream = await sourceOf(kme, {}, QUBIP).openDraw('siteB');
    for (const index of [0, 1]) {
      const [drawn] = await stream.draw(1);
      expect(drawn!.reference).to.include({ index });
      expect(hexOf(drawn!.secret.expose())).to.equal('aa'.repeat(32));
    }
    expect(kme.connections).to.equal(2);
  });

  it('a reply that comes after its deadline is not taken for the next one', async () => {
    const clock = new VirtualClock();
    let late: (() => void) | undefined;
    const kme = await serve(
      eachRequest((request, socket) => {
        if (request[3] !== 4 || late !== undefined) return serving()(request);
        late = () => socket.write(chunk(0, 'ee'));
        return undefined;
      }),
    );
    const stream = await sourceOf(kme, { clock }, QUBIP).openDraw('siteB');
    const first = codeOf(stream.draw(1));
    while (late === undefined) await settle();
    await clock.advance(4_000);
    expect(await first).to.equal(KdiErrorCode.timeout);
    late();
    const [drawn] = await stream.draw(1);
    expect(hexOf(drawn!.secret.expose())).to.equal('aa'.repeat(32));
  });

  it('a chunk that was spent on a connection which then broke is asked for twice, and then skipped', async () => {
    const asked: number[] = [];
    const kme = await serve(
      eachRequest((request, socket) => {
        if (request[3] !== 4) return serving()(request);
        const index = indexOf(request);
        asked.push(index);
        if (asked.length === 1) socket.destroy();
        return index === 0 ? message('qubip', '05', u32(2)) : chunk(index);
      }),
    );
    const stream = await sourceOf(kme, {}, QUBIP).openDraw('siteB');
    expect(await codeOf(stream.draw(1))).to.equal(KdiErrorCode.insufficientKey);
    expect(await stream.draw(1)).to.have.length(1);
    expect(asked).to.deep.equal([0, 0, 1]);
  });
});
