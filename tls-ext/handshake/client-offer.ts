/** The ClientHello: what a client offers, and the secrets behind it (RFC 8446, 4.1.2; RFC 9258; RFC 9973). */
import { bytesEqual } from '../bytes/index.ts';
import {
  type CipherSuiteInfo,
  type ClientKeyShare,
  cipherSuiteInfo,
  defaultKeyAgreements,
  type HashName,
  hash,
  hashLengthBytes,
  type KeyAgreementProvider,
  type TranscriptHash,
} from '../crypto/index.ts';
import type { ClientEngineOptions, QkdPsk, ResumptionPsk, TicketRequest } from '../engine-types.ts';
import { EarlySecret, type PskKind, pskBinder } from '../key-schedule/index.ts';
import {
  bindersLengthBytes,
  type ClientHello,
  clientHelloExtensionTypes,
  type ExtensionCodePoints,
  encodeClientHello,
  fillBinders,
  type HelloRetryRequest,
  isGrease,
  type OfferedPsks,
  ProtocolVersion,
  PskKeyExchangeMode,
  QkdFeature,
} from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';
import { illegalParameter } from './faults.ts';
import { codePointsOf, supportedCipherSuites, supportedGroups } from './parameters.ts';
import { importQkdKey } from './qkd-import.ts';
import type { SecretScope } from './steps.ts';

/** One PSK identity of the ClientHello and the early secret that its key leads to. */
export interface OfferedIdentity {
  readonly kind: PskKind;
  readonly hash: HashName;
  readonly identity: Uint8Array;
  /** Of a ticket; that of an external PSK is 0 (RFC 8446, 4.2.11). */
  readonly obfuscatedTicketAge?: number;
  readonly earlySecret: EarlySecret;
}

/** What a ClientHello offers. A second one after HelloRetryRequest is made from the first. */
export interface ClientOffer {
  readonly hello: ClientHello;
  readonly codePoints: ExtensionCodePoints;
  readonly suites: readonly CipherSuiteInfo[];
  readonly groups: readonly number[];
  /** The group of the one real share, and its private half. */
  readonly group: number;
  readonly keyShare: ClientKeyShare;
  readonly psks: readonly OfferedIdentity[];
  /** Extensions a server may answer to. */
  readonly extensionTypes: readonly number[];
}

const SESSION_ID_BYTES = 32;
const GREASE_BYTES = 4;

/** Everything for the first ClientHello. Misused options throw `TlsMisuseError`. */
export function prepareOffer(options: ClientEngineOptions, scope: SecretScope): ClientOffer {
  const codePoints = codePointsOf(options);
  const suites = suitesFor(options);
  const groups = supportedGroups(options);
  const group = groups[0] as number;
  const random = options.random(32);
  const legacySessionId = options.random(SESSION_ID_BYTES);
  const keyShare = scope.own(generateKeyShare(options.keyAgreements, group));
  const psks = offeredIdentities(options, suites, scope);
  const grease = options.grease === false ? undefined : greaseValues(options.random(GREASE_BYTES));
  const hello: ClientHello = {
    random,
    legacySessionId,
    cipherSuites: [...(grease ? [grease.suite] : []), ...suites.map(({ codePoint }) => codePoint)],
    extensions: {
      ...(grease ? { opaque: [{ type: grease.extension, data: new Uint8Array(0) }] } : {}),
      serverName: options.serverName,
      statusRequest: options.requestOcspStaple || undefined,
      supportedGroups: [...(grease ? [grease.group] : []), ...groups],
      signatureAlgorithms: options.signatureSchemes,
      signatureAlgorithmsCert: options.signatureSchemesCert,
      alpn: options.alpnProtocols?.length ? options.alpnProtocols : undefined,
      recordSizeLimit: options.recordSizeLimitBytes,
      supportedVersions: [...(grease ? [grease.version] : []), ProtocolVersion.tls13],
      certificateAuthorities: options.certificateAuthorities?.length ? options.certificateAuthorities : undefined,
      keyShare: [{ group, keyExchange: keyShare.share }],
      qkdPsk: options.qkdOffer && {
        features: options.offerRekey ? QkdFeature.rekey : 0,
        offer: options.qkdOffer,
      },
      ...(options.ticketRequest === undefined ? {} : ticketExtensions(options.ticketRequest)),
      ...(psks.length === 0 ? {} : pskExtensions(options, psks)),
    },
  };
  return { hello, codePoints, suites, groups, group, keyShare, psks, extensionTypes: answerable(hello, codePoints) };
}

/** The second ClientHello that a HelloRetryRequest asks for (RFC 8446, 4.1.2 and 4.1.4). */
export function retryOffer(
  offer: ClientOffer,
  retry: HelloRetryRequest,
  suite: CipherSuiteInfo,
  options: ClientEngineOptions,
  scope: SecretScope,
): ClientOffer {
  const { keyShare: selectedGroup, cookie } = retry.extensions;
  if (selectedGroup === undefined && cookie === undefined) {
    throw illegalParameter('HelloRetryRequest that changes nothing');
  }
  let { group, keyShare } = offer;
  if (selectedGroup !== undefined) {
    if (!offer.groups.includes(selectedGroup)) throw illegalParameter('HelloRetryRequest for a group not offered');
    if (selectedGroup === offer.group) throw illegalParameter('HelloRetryRequest for the group of the key share');
    keyShare.wipe();
    group = selectedGroup;
    keyShare = scope.own(generateKeyShare(options.keyAgreements, group));
  }
  const psks = remainingPsks(offer, suite);
  for (const psk of offer.psks) if (!psks.includes(psk)) psk.earlySecret.wipe();
  const { preSharedKey: _, ...kept } = offer.hello.extensions;
  const hello: ClientHello = {
    ...offer.hello,
    extensions: {
      ...kept,
      keyShare: [{ group, keyExchange: keyShare.share }],
      cookie,
      ...(psks.length === 0 ? {} : { preSharedKey: unboundPsks(psks) }),
    },
  };
  return { ...offer, hello, group, keyShare, psks, extensionTypes: answerable(hello, offer.codePoints) };
}

/**
 * PSKs of another hash than the suite's have lost their use and go (RFC 9846, "Hello Retry Request", a SHOULD).
 * But extension 33 stays as it was (RFC 9973, 5), and never stands without a PSK (4): where all would go, all stay.
 * The server can select none of them, and what is left is a handshake with certificates alone, of which `admit` decides.
 */
function remainingPsks({ psks, hello }: ClientOffer, suite: CipherSuiteInfo): readonly OfferedIdentity[] {
  const fitting = psks.filter(({ hash }) => hash === suite.hash);
  return fitting.length === 0 && hello.extensions.certWithExternPsk ? psks : fitting;
}

/**
 * The message, with its binders: over itself alone in a first ClientHello, over
 * ClientHello1 and HelloRetryRequest before it in a second one (RFC 8446, 4.2.11.2),
 * whose transcript `retried` gives, in the hash of each PSK.
 */
export function encodeOffer(offer: ClientOffer, retried?: (hash: HashName) => TranscriptHash): Uint8Array {
  const message = encodeClientHello(offer.hello, offer.codePoints);
  const placeholders = offer.hello.extensions.preSharedKey;
  if (placeholders === undefined) return message;
  const truncated = message.subarray(0, message.length - bindersLengthBytes(placeholders));
  const binders = offer.psks.map((psk) => {
    const binderKey = psk.earlySecret.binderKey(psk.kind);
    const transcriptHash = retried?.(psk.hash).snapshotWith(truncated) ?? hash(psk.hash, truncated);
    const binder = pskBinder(psk.hash, binderKey, transcriptHash);
    binderKey.wipe();
    return binder;
  });
  fillBinders(message, binders);
  return message;
}

function suitesFor(options: ClientEngineOptions): CipherSuiteInfo[] {
  const suites = supportedCipherSuites(options);
  // A plain external PSK has no hash but SHA-256, and nothing else may authenticate here.
  if (options.psk?.kind !== 'plain' || options.auth !== 'psk') return suites;
  const sha256Suites = suites.filter((suite) => suite.hash === 'sha256');
  if (sha256Suites.length === 0) throw new TlsMisuseError('a plain PSK needs a cipher suite with SHA-256');
  return sha256Suites;
}

function generateKeyShare(provider: KeyAgreementProvider = defaultKeyAgreements, group: number): ClientKeyShare {
  const agreement = provider(group);
  if (agreement === undefined) throw new TlsMisuseError(`no key agreement for group ${group}`);
  return agreement.generateKeyShare();
}

/** The keys that go in are wiped: from here on there are early secrets only. */
function offeredIdentities(
  { psk, auth, qkdOffer }: ClientEngineOptions,
  suites: readonly CipherSuiteInfo[],
  scope: SecretScope,
): OfferedIdentity[] {
  if (qkdOffer !== undefined) {
    const agree =
      (qkdOffer.offer === 'key') === (psk?.kind === 'qkd') &&
      (qkdOffer.offer === 'ticket') === (psk?.kind === 'resumption');
    if (!agree) throw new TlsMisuseError('qkdOffer and psk disagree');
  }
  if (psk === undefined) {
    if (auth === 'psk') throw new TlsMisuseError("auth 'psk' without a PSK");
    return [];
  }
  scope.own(psk.secret);
  try {
    if (psk.kind === 'resumption') {
      const identity = ticketIdentity(psk, scope);
      if (!suites.some(({ hash }) => hash === identity.hash)) {
        throw new TlsMisuseError('a ticket that fits no cipher suite on offer');
      }
      return [identity];
    }
    if (psk.kind === 'plain') {
      const earlySecret = scope.own(EarlySecret.of('sha256', psk.secret));
      return [{ kind: 'external', hash: 'sha256', identity: Uint8Array.from(psk.identity), earlySecret }];
    }
    return [...new Set(suites.map((suite) => suite.hash))].map((hash) => importQkdPsk(psk, hash, scope));
  } finally {
    psk.secret.wipe();
  }
}

/** The identity and early secret of a QKD key for suites of one hash (RFC 9258). The key itself stays alive. */
export function importQkdPsk(psk: QkdPsk, hash: HashName, scope: SecretScope): OfferedIdentity {
  const imported = importQkdKey(psk, 'handshake', hash);
  const earlySecret = scope.own(EarlySecret.of(hash, imported.key));
  imported.key.wipe();
  return { kind: 'imported', hash, identity: imported.identity, earlySecret };
}

/** The identity and early secret of a ticket; it serves suites of one hash. */
export function ticketIdentity(psk: ResumptionPsk, scope: SecretScope): OfferedIdentity {
  const suite = cipherSuiteInfo(psk.cipherSuite);
  if (suite === undefined || psk.secret.length !== hashLengthBytes[suite.hash]) {
    throw new TlsMisuseError('a ticket of a cipher suite that we do not speak');
  }
  return {
    kind: 'resumption',
    hash: suite.hash,
    identity: Uint8Array.from(psk.identity),
    obfuscatedTicketAge: psk.obfuscatedTicketAge ?? 0,
    earlySecret: scope.own(EarlySecret.of(suite.hash, psk.secret)),
  };
}

/** psk_key_exchange_modes says that tickets are of use, ticket_request how many (RFC 8446, 4.2.9; RFC 9149). */
function ticketExtensions(ticketRequest: TicketRequest): ClientHello['extensions'] {
  return { pskKeyExchangeModes: [PskKeyExchangeMode.pskDheKe], ticketRequest };
}

function pskExtensions({ auth }: ClientEngineOptions, psks: readonly OfferedIdentity[]): ClientHello['extensions'] {
  return {
    pskKeyExchangeModes: [PskKeyExchangeMode.pskDheKe],
    ...(auth === 'certificate' && psks.every(({ kind }) => kind !== 'resumption') ? { certWithExternPsk: true } : {}),
    preSharedKey: unboundPsks(psks),
  };
}

/** pre_shared_key with room for its binders, which `encodeOffer` fills. */
function unboundPsks(psks: readonly OfferedIdentity[]): OfferedPsks {
  return {
    identities: psks.map(({ identity, obfuscatedTicketAge = 0 }) => ({ identity, obfuscatedTicketAge })),
    binders: psks.map((psk) => new Uint8Array(hashLengthBytes[psk.hash])),
  };
}

/** RFC 8701: one reserved value for each list, so that servers stay used to unknown ones. */
function greaseValues(random: Uint8Array) {
  const reserved = (at: number) => ((random[at] as number) >> 4) * 0x1010 + 0x0a0a;
  return { suite: reserved(0), group: reserved(1), version: reserved(2), extension: reserved(3) };
}

/** What a server may answer to: what was sent, GREASE excepted (RFC 8701, 3.1). */
function answerable(hello: ClientHello, codePoints: ExtensionCodePoints): number[] {
  return clientHelloExtensionTypes(hello, codePoints).filter((type) => !isGrease(type));
}

/** The offered suite that a server's hello names. */
export function expectOfferedSuite(offer: ClientOffer, codePoint: number): CipherSuiteInfo {
  const suite = offer.suites.some((offered) => offered.codePoint === codePoint)
    ? cipherSuiteInfo(codePoint)
    : undefined;
  if (suite === undefined) throw illegalParameter('the server selected a cipher suite that was not offered');
  return suite;
}

/** A server must echo the session ID (RFC 8446, 4.1.3). */
export function expectSessionIdEcho(offer: ClientOffer, echo: Uint8Array): void {
  if (!bytesEqual(echo, offer.hello.legacySessionId)) throw illegalParameter('legacy_session_id_echo differs');
}
