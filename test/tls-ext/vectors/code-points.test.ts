import { readdir, readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { KEY_CHANNEL_ALPN } from '../../../proxy/tunnel/settings.ts';
import { alertName } from '../../../tls-ext/alert.ts';
import { concatBytes, decodeWhole, fromHex, utf8 } from '../../../tls-ext/bytes/index.ts';
import {
  CHECK_BYTES,
  INSTANCE_BYTES,
  KSID_BYTES,
  MAX_CONNECTIONS,
  MAX_DRAWER_INSTANCES,
  MAX_DROPPED_PER_MESSAGE,
  MAX_KEY_TTL_SECONDS,
  MAX_KEYS_PER_BATCH,
  MAX_MESSAGE_BYTES,
  MAX_NAME_BYTES,
  MAX_QUOTA,
  MAX_SERVICES,
  MAX_STATE_REASONS,
  MAX_STREAMS_PER_INSTANCE,
  MISMATCHES_UNTIL_KME_QUARANTINE,
  PROTOCOL_VERSION,
} from '../../../tls-ext/key-channel/limits.ts';
import { decodeMessage } from '../../../tls-ext/key-channel/message-codec.ts';
import { type KeyChannelMessage, MessageType } from '../../../tls-ext/key-channel/messages.ts';
import {
  decodeQkdKeyReference,
  decodeQkdPskContext,
  decodeRekeyResponse,
  ExtensionType,
  encodeQkdPskContext,
  HandshakeType,
  QKD_PSK_DRAFT_VERSION,
  QkdFeature,
} from '../../../tls-ext/messages/index.ts';
import { qkdPskClientHello, qkdPskEncryptedExtensions } from '../../../tls-ext/messages/qkd-psk.ts';
import { type DraftText, readDraft } from './draft-code-points.ts';

const messageTypes = new Map(Object.entries(MessageType).map(([name, code]) => [snakeCase(name), code]));
const HASH_BYTES = 32;
const zeros = (length: number) => new Uint8Array(length);
const ksid = zeros(KSID_BYTES);
const reference = concatBytes(fromHex('020141'), zeros(16));
const referenceVector = concatBytes(Uint8Array.of(0, reference.length), reference);

function body<T extends KeyChannelMessage['type']>(
  type: T,
  ...parts: readonly Uint8Array[]
): Extract<KeyChannelMessage, { type: T }> {
  return decodeMessage(messageTypes.get(type) as number, concatBytes(...parts)) as Extract<
    KeyChannelMessage,
    { type: T }
  >;
}

const one = (code: number) => Uint8Array.of(code);

/** What our decoder calls a code point: by structures in which all else is right. Throws or `undefined`: unknown. */
const decoders: Readonly<Record<string, (code: number) => string | undefined>> = {
  KeyDeliveryApi: (code) => {
    const drawer = fromHex('0141');
    for (const rest of [zeros(22), zeros(16), fromHex('0100')]) {
      const api = attempt(() => decodeQkdKeyReference(concatBytes(one(code), drawer, rest)).api);
      if (api !== undefined) return api;
    }
    return undefined;
  },
  QkdPskPurpose: (code) => decodeQkdPskContext(concatBytes(utf8('qkd_psk/1'), one(code), fromHex('01410142'))).purpose,
  QkdOffer: (code) => {
    const offer = (rest: Uint8Array) =>
      attempt(
        () => decodeWhole(concatBytes(fromHex('000100'), one(code), rest), qkdPskClientHello.decode)?.offer.offer,
      );
    return offer(zeros(0)) ?? offer(one(1));
  },
  NoOfferReason: (code) => {
    const hello = decodeWhole(concatBytes(fromHex('00010000'), one(code)), qkdPskClientHello.decode);
    return hello?.offer.offer === 'none' ? hello.offer.reason : undefined;
  },
  QkdResult: (code) => decodeWhole(concatBytes(fromHex('000100'), one(code)), qkdPskEncryptedExtensions.decode)?.result,
  RekeyStatus: (code) => {
    const status = (rest: Uint8Array) =>
      attempt(() => decodeRekeyResponse(concatBytes(fromHex('00000001'), one(code), rest), HASH_BYTES).status);
    return status(zeros(0)) ?? status(concatBytes(fromHex('001d000100'), zeros(HASH_BYTES)));
  },
  ServicePolicy: (code) =>
    body(
      'hello',
      fromHex('0001'),
      zeros(INSTANCE_BYTES),
      fromHex('0000000100030141'),
      one(code),
    ).services[0]?.require.replaceAll('-', '_'),
  StateReason: (code) => body('state', fromHex('01000000000001'), one(code)).reasons[0],
  AbortReason: (code) => body('abort', one(code)).reason,
  DropReason: (code) =>
    body('dropped', one(code), fromHex('0000'), one(referenceVector.length), referenceVector).reason,
  CloseReason: (code) => body('close_stream', ksid, one(code)).reason,
  KeyStatus: (code) => {
    const status = (check: Uint8Array) =>
      attempt(() => body('results', zeros(6), one(2 + check.length), one(0), one(code), check).results[0]?.status);
    return status(zeros(0)) ?? status(zeros(CHECK_BYTES));
  },
};

describe("the draft's code points and the code", () => {
  let draft: DraftText;

  before(async () => {
    draft = await readDraft();
  });

  for (const [name, decode] of Object.entries(decoders)) {
    it(`${name}: every value of a byte means the same`, () => {
      const known = draft.enums.get(name) ?? new Map<string, number>();
      expect(known.size).to.be.greaterThan(1);
      expect(draft.enumSizes.get(name)).to.equal(255);
      const names = new Map([...known].map(([member, code]) => [code, member]));
      for (let code = 0; code < 256; code++) {
        expect(
          attempt(() => decode(code)),
          `${name} ${code}`,
        ).to.equal(names.get(code));
      }
    });
  }

  it('StreamFailure: unknown ones are other', () => {
    const known = draft.enums.get('StreamFailure') ?? new Map<string, number>();
    const names = new Map([...known].map(([member, code]) => [code, member]));
    for (let code = 0; code < 256; code++) {
      expect(body('failed', ksid, one(code), one(0)).reason).to.equal(names.get(code) ?? 'other');
    }
  });

  it('KeyChannelMessageType', () => {
    expect(messageTypes).to.deep.equal(draft.enums.get('KeyChannelMessageType'));
  });

  it('HandshakeType: those of section 7', () => {
    const ours = Object.entries(HandshakeType).map(([name, code]) => [snakeCase(name), code] as const);
    expect(new Map(ours.filter(([name]) => name.startsWith('rekey_')))).to.deep.equal(draft.enums.get('HandshakeType'));
  });

  it('labels of HKDF are those of the code', async () => {
    const blocks = [...draft.text.matchAll(/~~~\n([\s\S]*?)~~~/g)].map(([, block]) => block).join('');
    const labels = new Set(
      [...blocks.matchAll(/"([a-z ]+)"/g)]
        .map(([, label = '']) => label)
        .filter((label) => label !== 'd' && label !== 'a'),
    );
    expect([...labels]).to.include.members(['derived psk', 'finished', 'res master', 'rekey s confirm', 'qkd check d']);
    const folders = ['crypto', 'key-schedule', 'key-channel'].map(
      (name) => new URL(`../../../tls-ext/${name}/`, import.meta.url),
    );
    let code = '';
    for (const folder of folders) {
      for (const file of await readdir(folder)) code += await readFile(new URL(file, folder), 'utf8');
    }
    for (const label of labels) expect(code.includes(`'${label}'`), label).to.equal(true);
  });

  it('every enum is looked at', () => {
    const others = ['StreamFailure', 'KeyChannelMessageType', 'HandshakeType'];
    expect([...draft.enums.keys()].sort()).to.deep.equal([...Object.keys(decoders), ...others].sort());
  });

  it('constants and bounds', () => {
    const number = (value: number) => value.toLocaleString('en-US');
    for (const text of [
      `code point 0x${ExtensionType.qkdPsk.toString(16).toUpperCase()},`,
      `(${ExtensionType.certWithExternPsk}) [RFC9973]`,
      `uint16 draft_version = ${QKD_PSK_DRAFT_VERSION};`,
      `bit 0 (0x0${QkdFeature.rekey}) is \`rekey\``,
      `ALPN \`${KEY_CHANNEL_ALPN}\``,
      `uint16 version = ${PROTOCOL_VERSION};`,
      `opaque instance[${INSTANCE_BYTES}];`,
      `opaque ksid[${KSID_BYTES}];`,
      `opaque check[${CHECK_BYTES}];`,
      `at most ${number(MAX_MESSAGE_BYTES)}`,
      `1 to ${number(MAX_QUOTA)} keys outstanding`,
      `services<0..2^16-1>;     // at most ${MAX_SERVICES}`,
      `StateReason reasons<0..${MAX_STATE_REASONS}>;`,
      `opaque kme_name<0..${MAX_NAME_BYTES}>;`,
      `1 to ${number(MAX_KEY_TTL_SECONDS)}`,
      `keys<1..2^24-1>;    // at most ${MAX_KEYS_PER_BATCH}`,
      `Dropped;     // at most ${MAX_DROPPED_PER_MESSAGE}`,
      `the connections (${MAX_CONNECTIONS}), the instances whose keys it keeps (${MAX_DRAWER_INSTANCES})`,
      `the streams of an instance (${MAX_STREAMS_PER_INSTANCE})`,
    ]) {
      expect(draft.text).to.include(text);
    }
    expect(MISMATCHES_UNTIL_KME_QUARANTINE).to.equal(3);
    expect(draft.text).to.include('After three mismatches in a row');
  });

  it('the context of a key begins with the bytes that the draft has', () => {
    const [, length, protocol = ''] = /opaque protocol\[(\d+)\] = "([^"]+)"/.exec(draft.text) ?? [];
    expect(protocol.length).to.equal(Number(length));
    const encoded = encodeQkdPskContext({ purpose: 'handshake', drawer: 'A', answerer: 'B' });
    expect(encoded.subarray(0, protocol.length)).to.deep.equal(utf8(protocol));
  });

  it('sections and documents that are cited exist, and none is listed for nothing', () => {
    const { text } = draft;
    const all = (pattern: RegExp, of = text) => new Set([...of.matchAll(pattern)].map(([, found = '']) => found));
    expect([...all(/^#{2,3} (?:Appendix )?([0-9A-Z]+(?:\.[0-9]+)?)\.? /gm)]).to.include.members([
      ...all(/Sections? (\d+(?:\.\d+)?)/g),
    ]);
    const [before = '', after = ''] = text.split('## 16. References');
    const [references = '', appendices = ''] = after.split('## Appendix A');
    const documents = /\[([A-Z]+\d*)\]/g;
    expect([...all(documents, before + appendices)].sort()).to.deep.equal([...all(documents, references)].sort());
  });

  it('alerts of section 11 exist', () => {
    const section = /\n## 11\. Errors\n([\s\S]*?)\n## 12\./.exec(draft.text)?.[1] ?? '';
    const rows = [...section.matchAll(/^\|.*\| ([a-z_]+) \|$/gm)]
      .map(([, alert]) => alert)
      .filter((a) => a !== 'alert');
    const known = new Set(Array.from({ length: 256 }, (_, code) => alertName(code)));
    expect(rows.length).to.be.greaterThan(20);
    for (const alert of rows) expect(known.has(alert ?? ''), alert).to.equal(true);
  });
});

function attempt<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
