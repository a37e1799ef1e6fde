import { expect } from 'chai';
import fc from 'fast-check';
import { concatBytes, fromHex, hexOf } from '../../../tls-ext/bytes/index.ts';
import {
  decodeMessage,
  encodeMessage,
  KeyChannelError,
  type KeyChannelMessage,
  MAX_KEYS_PER_BATCH,
  MessageFramer,
} from '../../../tls-ext/key-channel/index.ts';
import { MAX_MESSAGE_BYTES } from '../../../tls-ext/key-channel/limits.ts';
import { anyMessage } from './any-message.ts';
import { bytesOf, ksidOf, qos, reference004, reference014 } from './fixtures.ts';

const decodeFramed = (message: Uint8Array) => decodeMessage(message[0] as number, message.subarray(4));
const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof KeyChannelError) return error.code;
    throw error;
  }
  return 'no error';
};

describe('key channel messages', () => {
  it('encode to the bytes of the specification', () => {
    const hex = (message: KeyChannelMessage) => hexOf(encodeMessage(message));
    expect(
      hex({ type: 'hello', instance: bytesOf(16, 7), quota: 256, services: [{ service: 'db', require: 'qkd' }] }),
    ).to.equal(`01${'00001c'}0001${'07'.repeat(16)}00000100${'0004'}02646202`);
    expect(hex({ type: 'state', kmeReachable: true, kmeName: 'k', poolKeys: 3, reasons: ['budget'] })).to.equal(
      '02000009' + '01' + '016b' + '00000003' + '0106',
    );
    expect(hex({ type: 'abort', reason: 'self_connection' })).to.equal('0300000109');
    expect(hex({ type: 'stream', ksid: ksidOf(1), qos: { ...qos, metadataMimetype: '' } })).to.equal(
      `1000002d${'01'.repeat(16)}0000002000009c400000000000000000000000000000138800000258${'00'}`,
    );
    expect(
      hex({ type: 'keys', batch: 1, ttlSeconds: 60, keys: [{ reference: reference014(9), check: bytesOf(16, 5) }] }),
    ).to.equal(`11000034000000010000003c000029${'0017'}020573697465${'41'}${'09'.repeat(16)}${'05'.repeat(16)}`);
    expect(hex({ type: 'dropped', reason: 'unused', references: [reference014(9)] })).to.equal(
      `1200001d01000019${'0017'}02057369746541${'09'.repeat(16)}`,
    );
    expect(hex({ type: 'close_stream', ksid: ksidOf(1), reason: 'mismatch' })).to.equal(`13000011${'01'.repeat(16)}02`);
    expect(hex({ type: 'opened', ksid: ksidOf(1), keyChunkSizeBytes: 32 })).to.equal(
      `20000014${'01'.repeat(16)}00000020`,
    );
    expect(hex({ type: 'failed', ksid: ksidOf(1), reason: 'lost', retrying: false })).to.equal(
      `21000012${'01'.repeat(16)}0500`,
    );
    expect(
      hex({
        type: 'results',
        batch: 2,
        results: [
          { position: 0, status: 'acked', check: bytesOf(16, 6) },
          { position: 1, status: 'over_quota' },
        ],
      }),
    ).to.equal(`2200001b00000002000014${'0001'}${'06'.repeat(16)}${'0105'}`);
  });

  it('survive a round trip', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        expect(decodeFramed(encodeMessage(message))).to.deep.equal(message);
      }),
    );
  });

  it('are refused when cut anywhere, or with a byte behind them', () => {
    fc.assert(
      fc.property(anyMessage, fc.nat(), (message, at) => {
        const whole = encodeMessage(message);
        const bodyLength = whole.length - 4;
        const type = whole[0] as number;
        expect(codeOf(() => decodeMessage(type, whole.subarray(4, 4 + (at % bodyLength))))).to.equal(
          'ERR_KEYCHANNEL_DECODE',
        );
        expect(codeOf(() => decodeMessage(type, concatBytes(whole.subarray(4), Uint8Array.of(0))))).to.equal(
          'ERR_KEYCHANNEL_DECODE',
        );
      }),
    );
  });

  it('owe nothing to the buffer they were read from', () => {
    fc.assert(
      fc.property(anyMessage, (message) => {
        const buffer = encodeMessage(message);
        const decoded = decodeFramed(buffer);
        buffer.fill(0xee);
        expect(decoded).to.deep.equal(message);
      }),
    );
  });

  it('name each fault in hostile bytes with a code and throw nothing else', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 200 }), (type, body) => {
        expect(codeOf(() => decodeMessage(type, body))).to.be.oneOf([
          'no error',
          'ERR_KEYCHANNEL_DECODE',
          'ERR_KEYCHANNEL_VERSION',
          'ERR_KEYCHANNEL_UNKNOWN_MESSAGE',
        ]);
      }),
      { numRuns: 2000 },
    );
  });

  it('survive a changed byte with a message or a typed error', () => {
    fc.assert(
      fc.property(anyMessage, fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, difference) => {
        const whole = encodeMessage(message);
        const place = 4 + (at % (whole.length - 4));
        whole[place] = (whole[place] as number) ^ difference;
        expect(codeOf(() => decodeFramed(whole))).to.match(/^no error$|^ERR_KEYCHANNEL_(?:DECODE|VERSION)$/);
      }),
      { numRuns: 1000 },
    );
  });

  for (const [title, hex, code] of [
    ['an unknown type', '63 00', 'ERR_KEYCHANNEL_UNKNOWN_MESSAGE'],
    ['another version, whatever follows it', '01 0002 ff', 'ERR_KEYCHANNEL_VERSION'],
    ['a hello with quota 0', `01 0001 ${'11'.repeat(16)} 00000000 0000`, 'ERR_KEYCHANNEL_DECODE'],
    ['a hello with quota 16385', `01 0001 ${'11'.repeat(16)} 00004001 0000`, 'ERR_KEYCHANNEL_DECODE'],
    ['a hello with an unknown policy', `01 0001 ${'11'.repeat(16)} 00000001 0003 01 61 09`, 'ERR_KEYCHANNEL_DECODE'],
    [
      'a hello with 65 services',
      `01 0001 ${'11'.repeat(16)} 00000001 00c3 ${'016101'.repeat(65)}`,
      'ERR_KEYCHANNEL_DECODE',
    ],
    ['a name that is not UTF-8', '02 01 01 ff 00000000 00', 'ERR_KEYCHANNEL_DECODE'],
    ['a flag that is neither 0 nor 1', '02 02 00 00000000 00', 'ERR_KEYCHANNEL_DECODE'],
    ['17 reasons', `02 01 00 00000000 11 ${'01'.repeat(17)}`, 'ERR_KEYCHANNEL_DECODE'],
    ['keys without a key', '11 00000000 00000001 000000', 'ERR_KEYCHANNEL_DECODE'],
    [
      'keys without time to live',
      `11 00000000 00000000 000029 0017 0205 7369746541 ${'09'.repeat(32)}`,
      'ERR_KEYCHANNEL_DECODE',
    ],
    ['a mimetype with a control character', `10 ${'01'.repeat(44)} 01 07`, 'ERR_KEYCHANNEL_DECODE'],
    ['a result beyond the largest batch', '22 00000000 000002 8002', 'ERR_KEYCHANNEL_DECODE'],
    ['an unknown key status', '22 00000000 000002 0009', 'ERR_KEYCHANNEL_DECODE'],
  ] as const) {
    it(`refuse ${title}`, () => {
      const [type, ...body] = fromHex(hex.replaceAll(' ', ''));
      expect(codeOf(() => decodeMessage(type as number, Uint8Array.from(body)))).to.equal(code);
    });
  }

  it('skip state reasons of a later version, and read its failures as "other"', () => {
    expect(decodeMessage(2, fromHex('0100000000000201fe'))).to.deep.include({ reasons: ['kme_unreachable'] });
    expect(decodeMessage(33, fromHex(`${'01'.repeat(16)}fe00`))).to.deep.include({ reason: 'other' });
    expect(decodeMessage(3, fromHex('fe'))).to.deep.equal({ type: 'abort' });
  });

  it('hold the largest batch of the longest references', () => {
    const keys = Array.from({ length: MAX_KEYS_PER_BATCH }, (_, i) => ({
      reference: { api: 'skip' as const, drawer: 'x'.repeat(255), keyId: bytesOf(255, i) },
      check: bytesOf(16, i),
    }));
    const message: KeyChannelMessage = { type: 'keys', batch: 0xffff_ffff, ttlSeconds: 1, keys };
    expect([...new MessageFramer().push(encodeMessage(message))]).to.deep.equal([message]);
  });

  it('are not made from fields outside of their grammar', () => {
    const reference = reference004(ksidOf(1), 0);
    for (const message of [
      { type: 'hello', instance: bytesOf(15, 0), quota: 1, services: [] },
      { type: 'hello', instance: bytesOf(16, 0), quota: 0, services: [] },
      { type: 'hello', instance: bytesOf(16, 0), quota: 1, services: [{ service: '', require: 'qkd' }] },
      { type: 'keys', batch: 0, ttlSeconds: 1, keys: [] },
      { type: 'keys', batch: 0, ttlSeconds: 1, keys: [{ reference, check: bytesOf(15, 0) }] },
      { type: 'dropped', reason: 'unused', references: [] },
      { type: 'results', batch: 0, results: [{ position: 128, status: 'pending' }] },
      { type: 'stream', ksid: ksidOf(1), qos: { ...qos, metadataMimetype: 'é' } },
      { type: 'stream', ksid: ksidOf(1), qos: { ...qos, metadataMimetype: '\u007f' } },
      { type: 'stream', ksid: ksidOf(1), qos: { ...qos, metadataMimetype: 'x'.repeat(256) } },
    ] as const satisfies KeyChannelMessage[]) {
      expect(() => encodeMessage(message), JSON.stringify(message)).to.throw(RangeError);
    }
  });

  it('carry every printable character of a media type', () => {
    const metadataMimetype = String.fromCharCode(...Array.from({ length: 0x5f }, (_, i) => 0x20 + i));
    const message: KeyChannelMessage = { type: 'stream', ksid: ksidOf(1), qos: { ...qos, metadataMimetype } };
    expect(decodeFramed(encodeMessage(message))).to.deep.equal(message);
  });
});

describe('key channel framing', () => {
  it('finds the same messages however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(anyMessage, { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 100 })),
        (messages, cuts) => {
          const stream = concatBytes(...messages.map(encodeMessage));
          const framer = new MessageFramer();
          const found: KeyChannelMessage[] = [];
          let at = 0;
          for (const cut of [...cuts, stream.length]) {
            found.push(...framer.push(stream.subarray(at, at + cut)));
            at += cut;
          }
          expect(found).to.deep.equal(messages);
        },
      ),
    );
  });

  it('refuses a length beyond the bound before the body comes', () => {
    expect(codeOf(() => [...new MessageFramer().push(fromHex('11014001'))])).to.equal('ERR_KEYCHANNEL_DECODE');
    // At the bound it waits, and judges what comes.
    const framer = new MessageFramer();
    expect([...framer.push(fromHex('11014000'))]).to.deep.equal([]);
    expect([...framer.push(new Uint8Array(MAX_MESSAGE_BYTES - 1))]).to.deep.equal([]);
    expect(codeOf(() => [...framer.push(new Uint8Array(1))])).to.equal('ERR_KEYCHANNEL_DECODE');
  });

  it('refuses an empty message as soon as its header is there', () => {
    expect(codeOf(() => [...new MessageFramer().push(fromHex('02000000'))])).to.equal('ERR_KEYCHANNEL_DECODE');
  });
});
