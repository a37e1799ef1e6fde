import { expect } from 'chai';
import fc from 'fast-check';
import {
  decodeRequest,
  decodeResponse,
  type Etsi004Dialect,
  type Etsi004Qos,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Splitter,
  encodeMetadata,
  encodeRequest,
  encodeResponse,
  MAX_KEY_CHUNK_BYTES,
  MAX_RESPONSE_PAYLOAD_BYTES,
  parseMetadata,
} from '../../../kdi-client/wire/index.ts';
import { DecodeError, fromHex, hexOf, utf8 } from '../../../tls-ext/bytes/index.ts';
import { splitWhole } from '../support/split-whole.ts';

/** Hex with spaces and line breaks, as one writes it by hand. */
const bytes = (text: string): Uint8Array => fromHex(text.replace(/\s+/g, ''));

const KSID = '00112233445546778899aabbccddeeff';
const QOS: Etsi004Qos = {
  keyChunkSizeBytes: 32,
  maxBps: 40_000,
  minBps: 5_000,
  jitterBps: 10,
  priority: 0,
  timeoutMs: 5_000,
  ttlSeconds: 3_600,
  metadataMimetype: 'application/json',
};
/** 32, 40000, 5000, 10, 0, 5000, 3600. */
const QOS_NUMBERS = '00000020 00009c40 00001388 0000000a 00000000 00001388 00000e10';
/** "application/json" and its NUL. */
const MIMETYPE = '6170706c69636174696f6e2f6a736f6e 00';
/** The same padded to 256 bytes. */
const MIMETYPE_FIELD = MIMETYPE + '00'.repeat(256 - 17);
/** "qkd://a\0" and "qkd://b\0". */
const URIS = '716b643a2f2f61 00 716b643a2f2f62 00';

const oneRequest = (text: string): Etsi004Request => decodeRequest(splitWhole('requests', bytes(text))[0]!);
const oneResponse = (text: string): Etsi004Response => decodeResponse(splitWhole('responses', bytes(text))[0]!);

describe('kdi-client/wire/etsi004: bytes written by hand from the reference', () => {
  const open: Etsi004Request = {
    service: 'open-connect',
    source: 'qkd://a',
    destination: 'qkd://b',
    qos: QOS,
    ksid: new Uint8Array(16),
  };

  it('etsi: OPEN_CONNECT with a mimetype of variable length', () => {
    // Payload: 8 + 8 + 28 + 17 + 16 = 77 bytes.
    const wire = `020101 02 0000004d ${URIS} ${QOS_NUMBERS} ${MIMETYPE} ${'00'.repeat(16)}`;
    expect(hexOf(encodeRequest('etsi', open))).to.equal(hexOf(bytes(wire)));
    expect(oneRequest(wire)).to.deep.equal(open);
  });

  it('qubip: OPEN_CONNECT with the mimetype padded to 256 bytes', () => {
    // Payload: 8 + 8 + 28 + 256 + 16 = 316 bytes.
    const wire = `010001 02 0000013c ${URIS} ${QOS_NUMBERS} ${MIMETYPE_FIELD} ${KSID}`;
    const chosen = { ...open, ksid: bytes(KSID) };
    expect(hexOf(encodeRequest('qubip', chosen))).to.equal(hexOf(bytes(wire)));
    expect(oneRequest(wire)).to.deep.equal(chosen);
  });

  it('OPEN_CONNECT replies have 65 bytes in etsi and 304 in qubip', () => {
    const reply: Etsi004Response = { service: 'open-connect', status: 0, stream: { qos: QOS, ksid: bytes(KSID) } };
    const etsi = `020101 03 00000041 00000000 ${QOS_NUMBERS} ${MIMETYPE} ${KSID}`;
    const qubip = `010001 03 00000130 00000000 ${QOS_NUMBERS} ${MIMETYPE_FIELD} ${KSID}`;
    expect(hexOf(encodeResponse('etsi', reply))).to.equal(hexOf(bytes(etsi)));
    expect(hexOf(encodeResponse('qubip', reply))).to.equal(hexOf(bytes(qubip)));
    expect(oneResponse(etsi)).to.deep.equal(reply);
    expect(oneResponse(qubip)).to.deep.equal(reply);
  });

  it('GET_KEY sends the metadata buffer along in etsi, its size only in qubip', () => {
    const getKey: Etsi004Request = { service: 'get-key', ksid: bytes(KSID), index: 7, metadataSize: 5 };
    const etsi = `020101 04 0000001d ${KSID} 00000007 00000005 0000000000`;
    const qubip = `010001 04 00000018 ${KSID} 00000007 00000005`;
    expect(hexOf(encodeRequest('etsi', getKey))).to.equal(hexOf(bytes(etsi)));
    expect(hexOf(encodeRequest('qubip', getKey))).to.equal(hexOf(bytes(qubip)));
    expect(oneRequest(etsi)).to.deep.equal(getKey);
    expect(oneRequest(qubip)).to.deep.equal(getKey);
    // A server of dialect qubip takes the buffer too.
    expect(oneRequest(`010001 04 0000001d ${KSID} 00000007 00000005 0000000000`)).to.deep.equal(getKey);
    expect(() => oneRequest(`020101 04 00000018 ${KSID} 00000007 00000005`)).to.throw(DecodeError);
  });

  it('GET_KEY replies carry status, index, key and metadata', () => {
    const key = 'ab'.repeat(32);
    // {"age":1} is 9 bytes: 4 + 4 + 4 + 32 + 4 + 9 = 57.
    const body = `00000039 00000000 00000007 00000020 ${key} 00000009 7b22616765223a317d`;
    const reply: Etsi004Response = {
      service: 'get-key',
      status: 0,
      delivery: { index: 7, key: bytes(key), metadata: utf8('{"age":1}') },
    };
    expect(hexOf(encodeResponse('etsi', reply))).to.equal(hexOf(bytes(`020101 05 ${body}`)));
    expect(hexOf(encodeResponse('qubip', reply))).to.equal(hexOf(bytes(`010001 05 ${body}`)));
    expect(oneResponse(`020101 05 ${body}`)).to.deep.equal(reply);
  });

  it('CLOSE and its reply', () => {
    const close: Etsi004Request = { service: 'close', ksid: bytes(KSID) };
    expect(hexOf(encodeRequest('etsi', close))).to.equal(hexOf(bytes(`020101 08 00000010 ${KSID}`)));
    expect(oneRequest(`010001 08 00000010 ${KSID}`)).to.deep.equal(close);
    expect(oneResponse('020101 09 00000004 00000000')).to.deep.equal({ service: 'close', status: 0 });
    expect(hexOf(encodeResponse('qubip', { service: 'close', status: 0 }))).to.equal('010001090000000400000000');
  });

  it('error replies: full-size in etsi, the status alone in qubip, both read in either', () => {
    const tooSmall: Etsi004Response = { service: 'get-key', status: 8, metadataSizeNeeded: 300 };
    const full = '020101 05 00000010 00000008 00000000 00000000 0000012c';
    expect(hexOf(encodeResponse('etsi', tooSmall))).to.equal(hexOf(bytes(full)));
    expect(hexOf(encodeResponse('qubip', tooSmall))).to.equal(hexOf(bytes('010001 05 00000008 00000008 0000012c')));
    expect(oneResponse(full)).to.deep.equal(tooSmall);
    expect(oneResponse('020101 05 00000008 00000008 0000012c')).to.deep.equal(tooSmall);
    expect(oneResponse('020101 05 00000004 00000002')).to.deep.equal({ service: 'get-key', status: 2 });
    expect(oneResponse('010001 03 00000004 00000004')).to.deep.equal({ service: 'open-connect', status: 4 });
    expect(hexOf(encodeResponse('qubip', { service: 'open-connect', status: 4 }))).to.equal('010001030000000400000004');
    expect(encodeResponse('etsi', { service: 'open-connect', status: 4 })).to.have.length(8 + 4 + 28 + 1 + 16);
    // A full-size error reply whose metadata buffer comes along.
    expect(oneResponse('020101 05 00000012 00000003 00000000 00000000 00000002 0000')).to.deep.equal({
      service: 'get-key',
      status: 3,
    });
  });

  it('refuses success without what it promises', () => {
    expect(() => oneResponse('020101 03 00000004 00000000')).to.throw(DecodeError);
    expect(() => oneResponse('020101 05 00000004 00000000')).to.throw(DecodeError);
  });

  it('refuses text that is not terminated, not UTF-8 or too long', () => {
    const head = (payloadHex: string): string =>
      `020101 02 ${bytes(payloadHex).length.toString(16).padStart(8, '0')} ${payloadHex}`;
    expect(() => oneRequest(head('61'.repeat(40)))).to.throw(DecodeError);
    expect(() => oneRequest(head(`ff00 6200 ${QOS_NUMBERS} ${MIMETYPE} ${KSID}`))).to.throw(/UTF-8/);
    expect(() => oneRequest(head(`${'61'.repeat(2049)}00 6200 ${QOS_NUMBERS} 00 ${KSID}`))).to.throw(/longer/);
    expect(() => encodeRequest('etsi', { ...open, source: 'a\0b' })).to.throw(RangeError);
    expect(() => encodeRequest('etsi', { ...open, ksid: new Uint8Array(15) })).to.throw(RangeError);
  });
});

describe('kdi-client/wire/etsi004: properties', () => {
  const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
  const ksid = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const text = (maxLength: number) => fc.string({ maxLength }).filter((value) => !value.includes('\0'));
  const qos: fc.Arbitrary<Etsi004Qos> = fc.record({
    keyChunkSizeBytes: u32,
    maxBps: u32,
    minBps: u32,
    jitterBps: u32,
    priority: u32,
    timeoutMs: u32,
    ttlSeconds: u32,
    metadataMimetype: text(60),
  });
  const dialect = fc.constantFrom<Etsi004Dialect>('etsi', 'qubip');
  const request: fc.Arbitrary<Etsi004Request> = fc.oneof(
    fc.record({ service: fc.constant('open-connect' as const), source: text(200), destination: text(200), qos, ksid }),
    fc.record({
      service: fc.constant('get-key' as const),
      ksid,
      index: u32,
      metadataSize: fc.integer({ min: 0, max: 600 }),
    }),
    fc.record({ service: fc.constant('close' as const), ksid }),
  );
  const response: fc.Arbitrary<Etsi004Response> = fc.oneof(
    fc.record({ service: fc.constant('open-connect' as const), status: u32, stream: fc.record({ qos, ksid }) }),
    fc.record({
      service: fc.constant('get-key' as const),
      status: fc.constant(0),
      delivery: fc.record({
        index: u32,
        key: fc.uint8Array({ maxLength: 300 }),
        metadata: fc.uint8Array({ maxLength: 300 }),
      }),
    }),
    fc.record({ service: fc.constant('close' as const), status: u32 }),
  );

  it('requests and replies survive a round trip in both dialects', () => {
    fc.assert(
      fc.property(dialect, request, response, (d, asked, answered) => {
        expect(decodeRequest(splitWhole('requests', encodeRequest(d, asked))[0]!)).to.deep.equal(asked);
        expect(decodeResponse(splitWhole('responses', encodeResponse(d, answered))[0]!)).to.deep.equal(answered);
      }),
    );
  });

  it('a payload that is cut or has something added is refused, or is a short error reply', () => {
    fc.assert(
      fc.property(dialect, request, response, fc.nat(), (d, asked, answered, at) => {
        const frame = splitWhole('requests', encodeRequest(d, asked))[0]!;
        const cut = at % frame.payload.length;
        const isBufferless = d === 'qubip' && asked.service === 'get-key';
        expect(() => decodeRequest({ ...frame, payload: frame.payload.subarray(0, cut) })).to.throw(DecodeError);
        if (!isBufferless) {
          const longer = Uint8Array.from([...frame.payload, 0]);
          expect(() => decodeRequest({ ...frame, payload: longer })).to.throw(DecodeError);
        }
        const reply = splitWhole('responses', encodeResponse(d, answered))[0]!;
        const replyCut = at % reply.payload.length;
        if (replyCut === 4 && answered.service === 'open-connect' && answered.status > 1) return;
        expect(() => decodeResponse({ ...reply, payload: reply.payload.subarray(0, replyCut) })).to.throw(DecodeError);
      }),
    );
  });

  it('the splitter finds the same frames however the stream is cut', () => {
    fc.assert(
      fc.property(
        dialect,
        fc.array(request, { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 90 })),
        (d, all, cuts) => {
          const stream = Buffer.concat(all.map((one) => encodeRequest(d, one)));
          const splitter = new Etsi004Splitter('requests');
          const frames = [];
          let at = 0;
          for (let i = 0; at < stream.length; i++) {
            const end = at + (cuts[i] ?? 64);
            frames.push(...splitter.push(stream.subarray(at, end)));
            at = end;
          }
          expect(splitter.atBoundary).to.equal(true);
          expect(frames.map(decodeRequest)).to.deep.equal(all);
        },
      ),
    );
  });

  it('random bytes never make a decoder throw anything but DecodeError', () => {
    const service = fc.constantFrom(2, 3, 4, 5, 8, 9, 0x77);
    fc.assert(
      fc.property(dialect, service, fc.uint8Array({ maxLength: 400 }), (d, s, payload) => {
        for (const decode of [decodeRequest, decodeResponse]) {
          try {
            decode({ dialect: d, service: s, payload });
          } catch (error) {
            expect(error).to.be.instanceOf(DecodeError);
          }
        }
      }),
    );
  });
});

describe('kdi-client/wire/etsi004: the splitter is bounded', () => {
  const push = (direction: 'requests' | 'responses', hex: string) => () =>
    new Etsi004Splitter(direction).push(bytes(hex));

  it('refuses unknown versions, the wrong direction and long payloads at the header', () => {
    expect(push('requests', '020102 02 00000000')).to.throw(/version/);
    expect(push('requests', '020101 03 00000000')).to.throw(/service/);
    expect(push('responses', '020101 04 00000000')).to.throw(/service/);
    expect(push('responses', '020101 05 7fffffff')).to.throw(/payload/);
    expect(push('responses', `020101 05 ${MAX_RESPONSE_PAYLOAD_BYTES.toString(16).padStart(8, '0')}`)).not.to.throw();
  });

  it('stays failed once it has failed', () => {
    const splitter = new Etsi004Splitter('requests');
    expect(() => splitter.push(utf8('GET / HTTP/1.1\r\n'))).to.throw(DecodeError);
    expect(() => splitter.push(bytes('020101 08 00000010'))).to.throw(DecodeError);
  });

  it('refuses metadata longer than it may be', () => {
    const reply = (lengthBytes: number) => {
      const length = lengthBytes.toString(16).padStart(8, '0');
      const payload = `00000000 00000000 00000000 ${length} ${'20'.repeat(lengthBytes)}`;
      return oneResponse(`020101 05 ${(16 + lengthBytes).toString(16).padStart(8, '0')} ${payload}`);
    };
    expect(reply(0x1_0000).service).to.equal('get-key');
    expect(() => reply(0x1_0001)).to.throw(DecodeError, /metadata of 65537 bytes/);
  });

  it('refuses a key longer than a chunk may be', () => {
    const tooLong = (MAX_KEY_CHUNK_BYTES + 1).toString(16).padStart(8, '0');
    expect(() => oneResponse(`020101 05 0000000c 00000000 00000000 ${tooLong}`)).to.throw(/key of/);
  });
});

describe('kdi-client/wire/etsi004-metadata', () => {
  it('reads age, hops and provenance, and what the field does to them', () => {
    expect(parseMetadata(utf8('{"age":12,"hops":0,"simulated":true}'))).to.deep.equal({
      ageMs: 12,
      hops: 0,
      simulated: true,
    });
    expect(parseMetadata(utf8('{"age":12,"hops":2}\0\0'))).to.deep.equal({ ageMs: 12, hops: 2 });
    expect(parseMetadata(utf8('{"age":1763900000000,"hops":1}'))).to.deep.equal({ hops: 1 });
    expect(parseMetadata(new Uint8Array(256))).to.deep.equal({});
    expect(parseMetadata(utf8('{"age":"12","hops":-1,"vendor":{}}'))).to.deep.equal({});
    for (const bad of ['[]', '12', 'null', '{', '{"age":1}x']) {
      expect(() => parseMetadata(utf8(bad)), bad).to.throw(DecodeError);
    }
  });

  it('writes what it reads', () => {
    const metadata = { ageMs: 5, hops: 3, simulated: false };
    expect(parseMetadata(encodeMetadata(metadata))).to.deep.equal(metadata);
    expect(parseMetadata(encodeMetadata({ ageMs: 2 ** 40 }))).to.deep.equal({ ageMs: 0xffff_ffff });
  });
});
