import { expect } from 'chai';
import {
  CHOSEN_KSID,
  close,
  ETSI,
  getKeyEtsi,
  getKeyQubip,
  NULL_KSID,
  openEtsi,
  openQubip,
  QUBIP,
  statusOf,
} from './etsi004-messages.ts';
import { connectAs, type KmePair, type KmePairOptions, kmePair } from './kme-fixture.ts';

type Side = 'a' | 'b';

/** Each dialect's requests, and its replies as hex: full-size in `etsi`, the status alone in `qubip`. */
const DIALECTS = {
  etsi: {
    version: ETSI,
    open: openEtsi,
    getKey: getKeyEtsi,
    // Status, seven zeroes, an empty mimetype, a NULL KSID.
    openError: (status: string) => `02010103 00000031 ${status} ${'00'.repeat(28)} 00 ${'00'.repeat(16)}`,
    // Status, index, no key, no metadata.
    keyError: (status: string) => `02010105 00000010 ${status} 00000000 00000000 00000000`,
    closeError: (status: string) => `02010109 00000004 ${status}`,
    // Chunk of 65,536, 100,000, 32, 0, 0, 0, 60, the mimetype with its NUL, and the KSID that was asked for.
    counterProposal:
      '02010103 00000041 00000007 00010000 000186a0 00000020 00000000 00000000 00000000 0000003c' +
      '6170706c69636174696f6e2f6a736f6e00',
    tooSmall: /^0201010500000010000000080000000000000000000000[23][0-9a-f]$/,
  },
  qubip: {
    version: QUBIP,
    open: openQubip,
    getKey: getKeyQubip,
    openError: (status: string) => `01000103 00000004 ${status}`,
    keyError: (status: string) => `01000105 00000004 ${status}`,
    closeError: (status: string) => `01000109 00000004 ${status}`,
    counterProposal:
      '01000103 00000130 00000007 00010000 000186a0 00000020 00000000 00000000 00000000 0000003c' +
      `6170706c69636174696f6e2f6a736f6e${'00'.repeat(240)}`,
    tooSmall: /^010001050000000800000008000000[23][0-9a-f]$/,
  },
} as const;

describe('qkd-sim: 004 server, the bytes of each refusal', () => {
  let pair: KmePair;
  const start = async (options: KmePairOptions = {}) => {
    pair = await kmePair({ capacityBytes: 65_536, ...options });
  };
  afterEach(() => pair.close());

  /** One request on a connection of its own, and the whole reply, cut out by its header. */
  async function ask(side: Side, request: Buffer): Promise<Buffer> {
    const socket = await connectAs(side === 'a' ? pair.portA : pair.portB, side === 'a' ? 'siteA' : 'siteB');
    socket.write(request);
    let reply = Buffer.alloc(0);
    for await (const part of socket as AsyncIterable<Buffer>) {
      reply = Buffer.concat([reply, part]);
      if (reply.length >= 8 && reply.length >= 8 + reply.readUInt32BE(4)) break;
    }
    socket.destroy();
    return reply;
  }
  const hex = (text: string): string => text.replace(/\s+/g, '');

  for (const dialect of ['etsi', 'qubip'] as const) {
    const { version, open, getKey, openError, keyError, closeError, counterProposal, tooSmall } = DIALECTS[dialect];
    const expectReply = async (side: Side, request: Buffer, expected: string) =>
      expect((await ask(side, request)).toString('hex')).to.equal(hex(expected));
    const connect = async () => {
      for (const side of ['a', 'b'] as const) {
        expect(statusOf(await ask(side, open(CHOSEN_KSID)))).to.be.at.most(1);
      }
    };

    it(`${dialect}: 2, not enough key`, async () => {
      await start();
      await connect();
      await expectReply('a', getKey(CHOSEN_KSID, 0), keyError('00000002'));
    });

    it(`${dialect}: 3, the peer has not opened`, async () => {
      await start();
      await ask('a', open(CHOSEN_KSID));
      await expectReply('a', getKey(CHOSEN_KSID, 0), keyError('00000003'));
    });

    it(`${dialect}: 4, an unknown stream to GET_KEY and CLOSE`, async () => {
      await start();
      await expectReply('a', getKey(CHOSEN_KSID, 0), keyError('00000004'));
      await expectReply('a', close(version, CHOSEN_KSID), closeError('00000004'));
    });

    it(`${dialect}: 4, a peer that nobody serves`, async () => {
      await start();
      const request = Buffer.from(open(NULL_KSID).toString('latin1').replace('siteB', 'siteZ'), 'latin1');
      await expectReply('a', request, openError('00000004'));
    });

    it(`${dialect}: 5, a KSID in use`, async () => {
      await start();
      await connect();
      await expectReply('a', open(CHOSEN_KSID), openError('00000005'));
    });

    it(`${dialect}: 6, when Timeout has passed without key, or without the peer`, async () => {
      await start({ settings: { open: 'blocking' } });
      await expectReply('a', open(CHOSEN_KSID, 32, 1), openError('00000006'));
      await pair.close();
      await start();
      for (const side of ['a', 'b'] as const) await ask(side, open(CHOSEN_KSID, 32, 1));
      await expectReply('a', getKey(CHOSEN_KSID, 0), keyError('00000006'));
    });

    it(`${dialect}: 7, with the nearest QoS and the KSID as it was asked for`, async () => {
      await start();
      await expectReply('a', open(NULL_KSID, 1_000_000), counterProposal + '00'.repeat(16));
      await expectReply('a', open(CHOSEN_KSID, 1_000_000), counterProposal + Buffer.from(CHOSEN_KSID).toString('hex'));
    });

    it(`${dialect}: 8, with the room that is needed, and the key is kept`, async () => {
      await start();
      pair.fill(256);
      await connect();
      expect((await ask('a', getKey(CHOSEN_KSID, 0, 8))).toString('hex')).to.match(tooSmall);
      expect(statusOf(await ask('a', getKey(CHOSEN_KSID, 0)))).to.equal(0);
    });
  }
});
