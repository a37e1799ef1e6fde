/** The client's handshake (RFC 8446, 2 and appendix A.1), its steps in the order of the RFC. */
import { type CipherSuiteInfo, type HashName, TranscriptHash } from '../crypto/index.ts';
import type { ClientEngineOptions, HandshakeSummary, QkdResult } from '../engine-types.ts';
import { deriveTrafficKeys, EarlySecret } from '../key-schedule/index.ts';
import {
  type CertificateRequest,
  decodeCertificateRequest,
  decodeEncryptedExtensions,
  decodeServerHello,
  type EncryptedExtensions,
  type Extension,
  ExtensionType,
  extensionName,
  HandshakeType,
  type HelloRetryRequest,
  QkdFeature,
  type ServerHello,
} from '../messages/index.ts';
import { MAX_RECORD_SIZE_LIMIT_BYTES } from '../record/record-format.ts';
import {
  type CertificateExpectation,
  chooseSignatureScheme,
  expectCertificateVerify,
  judgeCertificate,
  sendCertificate,
  sendCertificateVerify,
} from './authentication.ts';
import {
  type ClientOffer,
  encodeOffer,
  expectOfferedSuite,
  expectSessionIdEcho,
  type OfferedIdentity,
  prepareOffer,
  retryOffer,
} from './client-offer.ts';
import {
  handshakeFailure,
  illegalParameter,
  insufficientSecurity,
  missingExtension,
  unexpectedMessage,
  unsupportedExtension,
} from './faults.ts';
import { expectFinished, sendFinished } from './finished.ts';
import { completeSession, deriveApplicationKeys, enterHandshakeKeys, type KeyChange } from './key-changes.ts';
import type { Session } from './session.ts';
import { bodyOf, type HandshakeMessage, type HandshakeWire, receive, SecretScope, type Steps } from './steps.ts';

/** The first ClientHello: what it offers, and its bytes. */
export interface FirstHello {
  readonly offer: ClientOffer;
  readonly message: Uint8Array;
}

/** `makeHello` is for recorded handshakes, whose ClientHello must be the recorded one. */
export function* clientHandshake(
  wire: HandshakeWire,
  options: ClientEngineOptions,
  makeHello: (options: ClientEngineOptions, scope: SecretScope) => FirstHello = makeClientHello,
): Steps<Session> {
  const scope = new SecretScope();
  try {
    const { offer, message: clientHello1 } = makeHello(options, scope);
    wire.send(clientHello1);

    const negotiated = yield* expectServerHello(wire, options, scope, offer, clientHello1);
    const { suite, transcript, psk } = negotiated;
    const change: KeyChange = {
      role: 'client',
      wire,
      scope,
      options,
      suite,
      transcript,
      clientRandom: negotiated.offer.hello.random,
    };
    const sharedSecret = negotiated.offer.keyShare.finish(negotiated.serverShare);
    const earlySecret = psk?.earlySecret ?? scope.own(EarlySecret.of(suite.hash, undefined));
    const handshakeKeys = enterHandshakeKeys(change, earlySecret, sharedSecret);
    if (negotiated.offer.hello.legacySessionId.length > 0) wire.sendChangeCipherSpec();

    const { extensions } = yield* expectEncryptedExtensions(wire, negotiated, options);

    let certificateRequest: CertificateRequest | undefined;
    if (psk === undefined || negotiated.certWithExternPsk) {
      certificateRequest = yield* expectServerAuthentication(wire, negotiated, options);
    }
    yield* expectFinished('ExpectServerFinished', transcript, handshakeKeys.serverHandshakeTrafficSecret);
    const summary = summaryOf(negotiated, extensions, options);
    // Now that it is authentic, and before the server could take it for complete.
    if (options.admit?.(summary) === false) throw insufficientSecurity('policy does not admit this handshake');
    const applicationKeys = deriveApplicationKeys(change, handshakeKeys);

    if (certificateRequest !== undefined) sendClientAuthentication(wire, transcript, options, certificateRequest);
    sendFinished(wire, transcript, handshakeKeys.clientHandshakeTrafficSecret);

    wire.protectSending(deriveTrafficKeys(suite, applicationKeys.clientApplicationTrafficSecret));
    wire.protectReceiving(deriveTrafficKeys(suite, applicationKeys.serverApplicationTrafficSecret));
    return completeSession(change, applicationKeys, summary, {
      wantsTickets: options.ticketRequest !== undefined,
      rekeyWithoutKey: 'refuse',
    });
  } finally {
    scope.wipe();
  }
}

function summaryOf(
  { offer, suite, psk, certWithExternPsk, retried }: Negotiated,
  { qkdPsk, alpn }: EncryptedExtensions['extensions'],
  options: ClientEngineOptions,
): HandshakeSummary {
  const { serverName, qkdOffer, ticketRequest } = options;
  return {
    group: offer.group,
    cipherSuite: suite.codePoint,
    ...(alpn === undefined ? {} : { alpnProtocol: alpn }),
    ...(serverName === undefined ? {} : { serverName }),
    psk: psk === undefined ? 'none' : usedPsk[psk.kind],
    ...(psk?.kind === 'imported' && options.psk?.kind === 'qkd' ? { reference: options.psk.reference } : {}),
    peerCertificate: psk === undefined || certWithExternPsk,
    ...(qkdOffer === undefined ? {} : { qkdOffer }),
    ...(qkdPsk === undefined ? {} : { qkdResult: qkdPsk.result }),
    helloRetryRequest: retried,
    // Never of a client that did not offer it: that was refused.
    rekey: ((qkdPsk?.features ?? 0) & QkdFeature.rekey) !== 0,
    tickets: offer.hello.extensions.pskKeyExchangeModes !== undefined,
    ...(ticketRequest === undefined ? {} : { ticketRequest }),
  };
}

const usedPsk = { imported: 'qkd', external: 'plain', resumption: 'resumption' } as const;

function makeClientHello(options: ClientEngineOptions, scope: SecretScope): FirstHello {
  const offer = prepareOffer(options, scope);
  return { offer, message: encodeOffer(offer) };
}

/** What ServerHello settled. */
interface Negotiated {
  /** The ClientHello that it answers. */
  readonly offer: ClientOffer;
  readonly suite: CipherSuiteInfo;
  readonly transcript: TranscriptHash;
  readonly serverShare: Uint8Array;
  readonly psk: OfferedIdentity | undefined;
  readonly certWithExternPsk: boolean;
  readonly retried: boolean;
}

/** ServerHello, perhaps after a HelloRetryRequest and a second ClientHello. */
function* expectServerHello(
  wire: HandshakeWire,
  options: ClientEngineOptions,
  scope: SecretScope,
  offer: ClientOffer,
  clientHello1: Uint8Array,
): Steps<Negotiated> {
  const message = yield* receive('ExpectServerHello', HandshakeType.serverHello);
  const hello = decodeServerHello(bodyOf(message));
  const suite = expectValidHello(offer, hello, hello.extensionList);
  if (hello.kind === 'server-hello') {
    const transcript = new TranscriptHash(suite.hash);
    transcript.update(clientHello1);
    return acceptServerHello(offer, suite, transcript, message, hello, options, false);
  }

  const retried = (hash: HashName) => retriedTranscript(hash, clientHello1, message);
  const secondOffer = retryOffer(offer, hello, suite, options, scope);
  const clientHello2 = encodeOffer(secondOffer, retried);
  const transcript = retried(suite.hash);
  transcript.update(clientHello2);
  if (offer.hello.legacySessionId.length > 0) wire.sendChangeCipherSpec();
  wire.send(clientHello2);

  const secondMessage = yield* receive('ExpectServerHelloAfterRetry', HandshakeType.serverHello);
  const serverHello = decodeServerHello(bodyOf(secondMessage));
  if (serverHello.kind === 'hello-retry-request') throw unexpectedMessage('a second HelloRetryRequest');
  if (expectValidHello(secondOffer, serverHello, serverHello.extensionList) !== suite) {
    throw illegalParameter('ServerHello with another cipher suite than HelloRetryRequest');
  }
  return acceptServerHello(secondOffer, suite, transcript, secondMessage, serverHello, options, true);
}

/** What stands in front of a second ClientHello (RFC 8446, 4.4.1). */
function retriedTranscript(hash: HashName, clientHello1: Uint8Array, retry: HandshakeMessage): TranscriptHash {
  const transcript = new TranscriptHash(hash);
  transcript.update(clientHello1);
  transcript.replaceByMessageHash();
  transcript.update(retry.bytes);
  return transcript;
}

/** What holds for ServerHello and HelloRetryRequest alike. */
function expectValidHello(
  offer: ClientOffer,
  hello: ServerHello | HelloRetryRequest,
  extensionList: readonly Extension[],
): CipherSuiteInfo {
  for (const { type } of extensionList) {
    // Unasked, but for HelloRetryRequest alone: in a ServerHello it was refused when that was decoded.
    if (type !== ExtensionType.cookie) expectRequested(type, offer);
  }
  expectSessionIdEcho(offer, hello.legacySessionIdEcho);
  return expectOfferedSuite(offer, hello.cipherSuite);
}

function acceptServerHello(
  offer: ClientOffer,
  suite: CipherSuiteInfo,
  transcript: TranscriptHash,
  message: HandshakeMessage,
  { extensions }: ServerHello,
  options: ClientEngineOptions,
  retried: boolean,
): Negotiated {
  const { keyShare, preSharedKey: selected } = extensions;
  const certWithExternPsk = extensions.certWithExternPsk ?? false;
  if (keyShare === undefined) {
    // RFC 9846, "Pre-Shared Key Extension": beside a PSK its absence is psk_ke, which was not offered.
    if (selected !== undefined) throw illegalParameter('the server selected a PSK without a key exchange');
    throw missingExtension('ServerHello without key_share');
  }
  if (keyShare.group !== offer.group) throw illegalParameter('the server answered with a share of another group');
  if (certWithExternPsk && selected === undefined) {
    throw illegalParameter('tls_cert_with_extern_psk without pre_shared_key in ServerHello');
  }
  let psk: OfferedIdentity | undefined;
  if (selected !== undefined) {
    psk = offer.psks[selected];
    if (psk === undefined) throw illegalParameter('the server selected a PSK that was not offered');
    if (psk.hash !== suite.hash) throw illegalParameter('the server selected a PSK of another hash than its suite');
    // An external PSK must not stand in for the certificate that was asked for; a ticket comes of a session that had one.
    if (options.auth === 'certificate' && !certWithExternPsk && psk.kind !== 'resumption') {
      throw handshakeFailure('the server selected the PSK without a certificate beside it');
    }
  } else if (options.auth === 'psk') {
    throw handshakeFailure('the server did not select the PSK');
  }
  for (const other of offer.psks) if (other !== psk) other.earlySecret.wipe();
  transcript.update(message.bytes);
  return { offer, suite, transcript, serverShare: keyShare.keyExchange, psk, certWithExternPsk, retried };
}

/** {EncryptedExtensions} */
function* expectEncryptedExtensions(
  wire: HandshakeWire,
  { offer, transcript, psk }: Negotiated,
  options: ClientEngineOptions,
): Steps<EncryptedExtensions> {
  const message = yield* receive('ExpectEncryptedExtensions', HandshakeType.encryptedExtensions);
  const { extensions, extensionList } = decodeEncryptedExtensions(bodyOf(message), offer.codePoints);
  for (const { type } of extensionList) expectRequested(type, offer);
  const { alpn, recordSizeLimit, qkdPsk } = extensions;
  if (alpn !== undefined && !options.alpnProtocols?.includes(alpn)) {
    throw illegalParameter('the server selected a protocol that was not offered');
  }
  if (recordSizeLimit !== undefined) {
    // RFC 8449, 4: from a server a larger limit than the version's is an error.
    if (recordSizeLimit > MAX_RECORD_SIZE_LIMIT_BYTES) throw illegalParameter('record_size_limit too large');
    wire.limitRecords('sending', recordSizeLimit);
    if (options.recordSizeLimitBytes !== undefined) wire.limitRecords('receiving', options.recordSizeLimitBytes);
  }
  expectConsistentResult(options, psk, qkdPsk?.result);
  wire.qkdResult(qkdPsk?.result);
  if (qkdPsk !== undefined && (qkdPsk.features & ~(options.offerRekey ? QkdFeature.rekey : 0)) !== 0) {
    throw illegalParameter('qkd_psk with features that were not offered');
  }
  transcript.update(message.bytes);
  return { extensions };
}

/** `used` exactly when the QKD identity was selected, `resumed` exactly when the ticket was, `not_offered` exactly when none was offered. */
function expectConsistentResult(
  { qkdOffer }: ClientEngineOptions,
  psk: OfferedIdentity | undefined,
  result: QkdResult | undefined,
): void {
  if (qkdOffer === undefined) return;
  if ((result === 'used') !== (psk?.kind === 'imported') || (result === 'resumed') !== (psk?.kind === 'resumption')) {
    throw illegalParameter('qkd_psk disagrees with the selected PSK');
  }
  if (result !== undefined && (result === 'not_offered') !== (qkdOffer.offer === 'none')) {
    throw illegalParameter('qkd_psk disagrees with what was offered');
  }
}

/** {CertificateRequest*}, {Certificate}, {CertificateVerify}. The request, if there was one. */
function* expectServerAuthentication(
  wire: HandshakeWire,
  { transcript, psk }: Negotiated,
  options: ClientEngineOptions,
): Steps<CertificateRequest | undefined> {
  let certificateRequest: CertificateRequest | undefined;
  let message = yield* receive(
    'ExpectCertificateOrCertificateRequest',
    HandshakeType.certificateRequest,
    HandshakeType.certificate,
  );
  if (message.type === HandshakeType.certificateRequest) {
    certificateRequest = decodeCertificateRequest(bodyOf(message));
    if (certificateRequest.certificateRequestContext.length !== 0) {
      throw illegalParameter('certificate_request_context in a handshake');
    }
    transcript.update(message.bytes);
    message = yield* receive('ExpectServerCertificate', HandshakeType.certificate);
  }
  const expectation: CertificateExpectation = {
    peer: 'server',
    signatureSchemes: options.signatureSchemes,
    requestedExtensions: options.requestOcspStaple ? [ExtensionType.statusRequest] : [],
    context: psk !== undefined && options.psk?.kind === 'qkd' ? options.psk.context : undefined,
  };
  const certificate = yield* judgeCertificate(wire, transcript, message, expectation);
  yield* expectCertificateVerify(transcript, certificate, expectation);
  return certificateRequest;
}

/** {Certificate}, {CertificateVerify}: what we have that the server can verify, else an empty Certificate. */
function sendClientAuthentication(
  wire: HandshakeWire,
  transcript: TranscriptHash,
  { identity }: ClientEngineOptions,
  { extensions }: CertificateRequest,
): void {
  const scheme = identity && chooseSignatureScheme(identity, extensions.signatureAlgorithms);
  if (identity === undefined || scheme === undefined) {
    sendCertificate(wire, transcript, undefined, undefined);
    return;
  }
  const staple = extensions.statusRequest ? identity.ocspResponse : undefined;
  sendCertificate(wire, transcript, identity, staple);
  sendCertificateVerify(wire, transcript, 'client', identity, scheme);
}

function expectRequested(type: number, { extensionTypes }: ClientOffer): void {
  if (!extensionTypes.includes(type)) throw unsupportedExtension(`${extensionName(type)} was not asked for`);
}
