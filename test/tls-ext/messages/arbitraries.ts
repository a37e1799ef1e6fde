/** Random messages for round-trip and truncation properties. */
import fc from 'fast-check';
import { NoOfferReason, type QkdKeyReference, type QkdPskContext } from '../../../tls-ext/engine-types.ts';
import type {
  Certificate,
  CertificateRequest,
  CertificateVerify,
  ClientHello,
  EncryptedExtensions,
  Extension,
  HelloRetryRequest,
  NewSessionTicket,
  RekeyFinish,
  RekeyRequest,
  RekeyResponse,
  ServerHello,
} from '../../../tls-ext/messages/index.ts';

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const bytes = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength, size: 'max' }).map((value) => Uint8Array.from(value));
const exactly = (length: number) => bytes(length, length);
const codePoints = fc.array(u16, { minLength: 1, maxLength: 20 });
const protocolName = bytes(1, 20).map((name) => String.fromCharCode(...name));
const hostName = fc.stringMatching(/^[a-z0-9.-]{1,60}$/);
const saeId = fc
  .string({ minLength: 1, maxLength: 60, unit: 'grapheme' })
  .filter((id) => new TextEncoder().encode(id).length <= 255);

/** Types that no table of ours knows: GREASE and unassigned ones. */
const opaque: fc.Arbitrary<Extension[]> = fc.uniqueArray(
  fc.record({ type: fc.constantFrom(0x0a0a, 0x1a1a, 0x7777, 0xfe0d, 60), data: bytes(0, 30) }),
  { minLength: 1, selector: ({ type }) => type },
);

/** Each key of a record may be absent. */
function partial<T>(model: { [K in keyof T]-?: fc.Arbitrary<NonNullable<T[K]>> }) {
  return fc.record(model, { requiredKeys: [] }) as fc.Arbitrary<T>;
}

const keyShareEntry = fc.record({ group: u16, keyExchange: bytes(1, 80) });

const offeredPsks = fc
  .array(
    fc.record({
      identity: fc.record({ identity: bytes(1, 60), obfuscatedTicketAge: u32 }),
      binder: fc.oneof(exactly(32), exactly(48)),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((psks) => ({ identities: psks.map((p) => p.identity), binders: psks.map((p) => p.binder) }));

const offer = fc.oneof(
  fc.constantFrom({ offer: 'key' } as const, { offer: 'ticket' } as const),
  fc.record({ offer: fc.constant('none' as const), reason: fc.constantFrom(...Object.values(NoOfferReason)) }),
);

export const clientHello: fc.Arbitrary<ClientHello> = fc.record({
  random: exactly(32),
  legacySessionId: bytes(0, 32),
  cipherSuites: codePoints,
  extensions: partial<ClientHello['extensions']>({
    serverName: hostName,
    statusRequest: fc.constant(true as const),
    supportedGroups: codePoints,
    signatureAlgorithms: codePoints,
    signatureAlgorithmsCert: codePoints,
    alpn: fc.array(protocolName, { minLength: 1, maxLength: 5 }),
    recordSizeLimit: fc.integer({ min: 64, max: 0xffff }),
    supportedVersions: fc.constant([0x0304]),
    cookie: bytes(1, 60),
    pskKeyExchangeModes: fc.array(u8, { minLength: 1, maxLength: 5 }),
    certificateAuthorities: fc.array(bytes(1, 40), { minLength: 1, maxLength: 4 }),
    keyShare: fc.uniqueArray(keyShareEntry, { maxLength: 4, selector: ({ group }) => group }),
    earlyData: fc.constant(true as const),
    certWithExternPsk: fc.constant(true as const),
    ticketRequest: fc.record({ newSessionCount: u8, resumptionCount: u8 }),
    qkdPsk: fc.record({ features: u8, offer }),
    preSharedKey: offeredPsks,
    opaque,
  }).map((extensions) => ({ ...extensions, supportedVersions: [0x7f1c, 0x0304] })),
});

export const serverHello: fc.Arbitrary<ServerHello> = fc.record({
  kind: fc.constant('server-hello' as const),
  random: exactly(32),
  legacySessionIdEcho: bytes(0, 32),
  cipherSuite: u16,
  extensions: partial<ServerHello['extensions']>({
    supportedVersions: fc.constant(0x0304),
    keyShare: keyShareEntry,
    preSharedKey: u16,
    certWithExternPsk: fc.constant(true as const),
    opaque,
  }).map((extensions) => ({ ...extensions, supportedVersions: 0x0304 })),
});

export const helloRetryRequest: fc.Arbitrary<HelloRetryRequest> = fc.record({
  kind: fc.constant('hello-retry-request' as const),
  legacySessionIdEcho: bytes(0, 32),
  cipherSuite: u16,
  extensions: partial<HelloRetryRequest['extensions']>({
    supportedVersions: fc.constant(0x0304),
    keyShare: u16,
    cookie: bytes(1, 100),
    opaque,
  }).map((extensions) => ({ ...extensions, supportedVersions: 0x0304 })),
});

export const encryptedExtensions: fc.Arbitrary<EncryptedExtensions> = fc.record({
  extensions: partial<EncryptedExtensions['extensions']>({
    serverName: fc.constant(true as const),
    supportedGroups: codePoints,
    alpn: protocolName,
    recordSizeLimit: fc.integer({ min: 64, max: 0xffff }),
    earlyData: fc.constant(true as const),
    ticketRequest: u8,
    qkdPsk: fc.record({
      features: u8,
      result: fc.constantFrom('used', 'resumed', 'not_offered', 'unavailable', 'policy'),
    }),
    opaque,
  }),
});

export const certificateRequest: fc.Arbitrary<CertificateRequest> = fc
  .tuple(
    bytes(0, 20),
    codePoints,
    partial<CertificateRequest['extensions']>({
      statusRequest: fc.constant(true as const),
      signatureAlgorithms: codePoints,
      signatureAlgorithmsCert: codePoints,
      certificateAuthorities: fc.array(bytes(1, 40), { minLength: 1, maxLength: 4 }),
      opaque,
    }),
  )
  .map(([certificateRequestContext, signatureAlgorithms, extensions]) => ({
    certificateRequestContext,
    extensions: { ...extensions, signatureAlgorithms },
  }));

export const certificate: fc.Arbitrary<Certificate> = fc.record({
  certificateRequestContext: bytes(0, 20),
  certificateList: fc.array(
    fc.record({
      certData: bytes(1, 100),
      extensions: partial<Certificate['certificateList'][number]['extensions']>({
        statusRequest: bytes(1, 40),
        opaque,
      }),
    }),
    { maxLength: 4 },
  ),
});

export const certificateVerify: fc.Arbitrary<CertificateVerify> = fc.record({
  algorithm: u16,
  signature: bytes(0, 100),
});

export const newSessionTicket: fc.Arbitrary<NewSessionTicket> = fc.record({
  ticketLifetimeSeconds: u32,
  ticketAgeAdd: u32,
  ticketNonce: bytes(0, 20),
  ticket: bytes(1, 100),
  extensions: partial<NewSessionTicket['extensions']>({ earlyData: u32, opaque }),
});

export const rekeyRequest: fc.Arbitrary<RekeyRequest> = fc.record(
  {
    epoch: u32,
    keyShare: keyShareEntry,
    psk: fc.record({ identity: bytes(1, 90), binder: bytes(32, 60) }),
  },
  { requiredKeys: ['epoch', 'keyShare'] },
);

/** For suites of SHA-384. */
export const rekeyResponse: fc.Arbitrary<RekeyResponse> = fc.oneof(
  fc.record({ epoch: u32, status: fc.constant('refused' as const) }),
  fc.record({
    epoch: u32,
    status: fc.constantFrom('used' as const, 'without_key' as const),
    keyShare: keyShareEntry,
    confirmation: exactly(48),
  }),
);

export const rekeyFinish: fc.Arbitrary<RekeyFinish> = fc.record({ epoch: u32, confirmation: exactly(48) });

export const keyReference: fc.Arbitrary<QkdKeyReference> = fc.oneof(
  fc.record({ api: fc.constant('etsi004' as const), drawer: saeId, ksid: exactly(16), index: u32, slice: u16 }),
  fc.record({ api: fc.constant('etsi014' as const), drawer: saeId, keyId: exactly(16) }),
  fc.record({ api: fc.constant('skip' as const), drawer: saeId, keyId: bytes(1, 64) }),
);

export const pskContext: fc.Arbitrary<QkdPskContext> = fc.record({
  purpose: fc.constantFrom('handshake', 'rekey'),
  drawer: saeId,
  answerer: saeId,
});
