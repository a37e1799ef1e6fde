/** The server's handshake (RFC 8446, 2 and appendix A.2), its steps in the order of the RFC. */
import type { SecretBytes } from '../bytes/index.ts';
import { defaultKeyAgreements, type TranscriptHash } from '../crypto/index.ts';
import type { EngineIdentity, HandshakeSummary, ServerEngineOptions } from '../engine-types.ts';
import { deriveTrafficKeys, EarlySecret } from '../key-schedule/index.ts';
import {
  ExtensionType,
  encodeCertificateRequest,
  encodeEncryptedExtensions,
  encodeServerHello,
  HandshakeType,
  ProtocolVersion,
  PskKeyExchangeMode,
  QkdFeature,
} from '../messages/index.ts';
import { MAX_RECORD_SIZE_LIMIT_BYTES } from '../record/record-format.ts';
import { TlsMisuseError } from '../tls-error.ts';
import {
  type CertificateExpectation,
  chooseSignatureScheme,
  expectCertificateVerify,
  judgeCertificate,
  sendCertificate,
  sendCertificateVerify,
} from './authentication.ts';
import { handshakeFailure, insufficientSecurity, missingExtension } from './faults.ts';
import { expectFinished, sendFinished } from './finished.ts';
import { completeSession, deriveApplicationKeys, enterHandshakeKeys, type KeyChange } from './key-changes.ts';
import { codePointsOf } from './parameters.ts';
import { chooseProtocol } from './server-negotiation.ts';
import { choosePsk, type PskOutcome } from './server-psk.ts';
import { type AcceptedClientHello, expectClientHello } from './server-retry.ts';
import type { Session } from './session.ts';
import { type HandshakeWire, receive, SecretScope, type Steps } from './steps.ts';

export function* serverHandshake(wire: HandshakeWire, options: ServerEngineOptions): Steps<Session> {
  const scope = new SecretScope();
  const codePoints = codePointsOf(options);
  expectUsableOptions(options);
  try {
    const accepted = yield* expectClientHello(wire, options, codePoints);
    const { hello, suite, transcript } = accepted;
    const alpnProtocol = chooseProtocol(hello, options);
    const outcome = yield* choosePsk(wire, options, scope, accepted);
    const { selected } = outcome;
    const certificates = selected === undefined || selected.certWithExternPsk;
    // Before anything is sent: a server that can't authenticate has nothing to say.
    const signer = certificates && !outcome.refused ? chooseSigner(accepted, options) : undefined;

    const sharedSecret = sendServerHello(wire, options, scope, accepted, outcome);
    const change: KeyChange = {
      role: 'server',
      wire,
      scope,
      options,
      suite,
      transcript,
      clientRandom: hello.random,
    };
    const earlySecret = selected?.earlySecret ?? scope.own(EarlySecret.of(suite.hash, undefined));
    if (hello.legacySessionId.length > 0) wire.sendChangeCipherSpec();
    const handshakeKeys = enterHandshakeKeys(change, earlySecret, sharedSecret);
    if (hello.extensions.earlyData) wire.skipEarlyData();

    const rekeyNegotiated = (options.offerRekey ?? false) && (outcome.qkdFeatures & QkdFeature.rekey) !== 0;
    sendEncryptedExtensions(wire, options, accepted, outcome, alpnProtocol, rekeyNegotiated);
    if (outcome.refused) throw insufficientSecurity('policy wants a QKD key that this handshake does not have');

    const asksClient = certificates && options.requestClientCertificate;
    if (asksClient) sendCertificateRequest(wire, transcript, options);
    if (signer !== undefined) {
      const staple = hello.extensions.statusRequest ? signer.identity.ocspResponse : undefined;
      sendCertificate(wire, transcript, signer.identity, staple);
      sendCertificateVerify(wire, transcript, 'server', signer.identity, signer.scheme);
    }
    sendFinished(wire, transcript, handshakeKeys.serverHandshakeTrafficSecret);
    const applicationKeys = deriveApplicationKeys(change, handshakeKeys);
    wire.protectSending(deriveTrafficKeys(suite, applicationKeys.serverApplicationTrafficSecret));

    if (asksClient) yield* expectClientAuthentication(wire, transcript, options, outcome);
    yield* expectFinished('ExpectClientFinished', transcript, handshakeKeys.clientHandshakeTrafficSecret);
    wire.protectReceiving(deriveTrafficKeys(suite, applicationKeys.clientApplicationTrafficSecret));

    const summary = summaryOf(accepted, outcome, { alpnProtocol, rekey: rekeyNegotiated, peerCertificate: asksClient });
    return completeSession(change, applicationKeys, summary, {
      wantsTickets: false,
      rekeyWithoutKey: options.rekeyWithoutKey ?? 'accept',
    });
  } finally {
    scope.wipe();
  }
}

/** What the handshake came to; `said` is what the server chose to say. */
function summaryOf(
  { hello, suite, group, retried }: AcceptedClientHello,
  { selected, qkdOffer, qkdResult }: PskOutcome,
  said: { readonly alpnProtocol: string | undefined; readonly rekey: boolean; readonly peerCertificate: boolean },
): HandshakeSummary {
  const { serverName, pskKeyExchangeModes, ticketRequest } = hello.extensions;
  const { alpnProtocol, rekey, peerCertificate } = said;
  return {
    group,
    cipherSuite: suite.codePoint,
    ...(alpnProtocol === undefined ? {} : { alpnProtocol }),
    ...(serverName === undefined ? {} : { serverName }),
    psk: selected?.kind ?? 'none',
    ...(selected?.reference === undefined ? {} : { reference: selected.reference }),
    peerCertificate,
    ...(qkdOffer === undefined ? {} : { qkdOffer }),
    ...(qkdResult === undefined ? {} : { qkdResult }),
    helloRetryRequest: retried,
    rekey,
    tickets: pskKeyExchangeModes?.includes(PskKeyExchangeMode.pskDheKe) ?? false,
    ...(ticketRequest === undefined ? {} : { ticketRequest }),
  };
}

function expectUsableOptions(options: ServerEngineOptions): void {
  if (options.auth === 'certificate' && options.identity === undefined) {
    throw new TlsMisuseError("auth 'certificate' without an identity");
  }
  if (options.auth === 'psk' && options.requestClientCertificate) {
    throw new TlsMisuseError("auth 'psk' has no place for client certificates");
  }
}

interface Signer {
  readonly identity: EngineIdentity;
  readonly scheme: number;
}

/** Of a server with a certificate: without one, `choosePsk` has come to a PSK or to an end. */
function chooseSigner({ hello }: AcceptedClientHello, options: ServerEngineOptions): Signer {
  const identity = options.identity as EngineIdentity;
  const { signatureAlgorithms } = hello.extensions;
  if (signatureAlgorithms === undefined) throw missingExtension('ClientHello without signature_algorithms');
  const scheme = chooseSignatureScheme(identity, signatureAlgorithms);
  if (scheme === undefined) throw handshakeFailure('no signature scheme in common');
  return { identity, scheme };
}

/** ServerHello. The shared secret of the key exchange. */
function sendServerHello(
  wire: HandshakeWire,
  options: ServerEngineOptions,
  scope: SecretScope,
  { hello, message, suite, group, clientShare, transcript }: AcceptedClientHello,
  { selected }: PskOutcome,
): SecretBytes {
  const agreement = (options.keyAgreements ?? defaultKeyAgreements)(group);
  if (agreement === undefined) throw new TlsMisuseError('no key agreement for the group');
  const { share, secret } = agreement.respond(clientShare.keyExchange);
  scope.own(secret);
  const serverHello = encodeServerHello({
    kind: 'server-hello',
    random: options.random(32),
    legacySessionIdEcho: hello.legacySessionId,
    cipherSuite: suite.codePoint,
    extensions: {
      supportedVersions: ProtocolVersion.tls13,
      keyShare: { group, keyExchange: share },
      preSharedKey: selected?.index,
      certWithExternPsk: selected?.certWithExternPsk || undefined,
    },
  });
  transcript.update(message.bytes);
  transcript.update(serverHello);
  wire.send(serverHello);
  return secret;
}

/** {EncryptedExtensions} */
function sendEncryptedExtensions(
  wire: HandshakeWire,
  options: ServerEngineOptions,
  { hello, transcript }: AcceptedClientHello,
  { qkdResult }: PskOutcome,
  alpnProtocol: string | undefined,
  rekeyNegotiated: boolean,
): void {
  const { recordSizeLimit: clientLimit } = hello.extensions;
  const ownLimit = options.recordSizeLimitBytes ?? MAX_RECORD_SIZE_LIMIT_BYTES;
  const message = encodeEncryptedExtensions(
    {
      extensions: {
        alpn: alpnProtocol,
        recordSizeLimit: clientLimit && ownLimit,
        qkdPsk: qkdResult && { features: rekeyNegotiated ? QkdFeature.rekey : 0, result: qkdResult },
      },
    },
    codePointsOf(options),
  );
  transcript.update(message);
  // RFC 8449, 4: the client's limit holds from the first protected record, ours from the client's first.
  if (clientLimit !== undefined) {
    wire.limitRecords('sending', clientLimit);
    wire.limitRecords('receiving', ownLimit);
  }
  wire.send(message);
  wire.qkdResult(qkdResult);
}

/** {CertificateRequest} */
function sendCertificateRequest(wire: HandshakeWire, transcript: TranscriptHash, options: ServerEngineOptions): void {
  const message = encodeCertificateRequest({
    certificateRequestContext: new Uint8Array(0),
    extensions: {
      statusRequest: options.requestOcspStaple || undefined,
      signatureAlgorithms: options.signatureSchemes,
      signatureAlgorithmsCert: options.signatureSchemesCert,
      certificateAuthorities: options.certificateAuthorities?.length ? options.certificateAuthorities : undefined,
    },
  });
  transcript.update(message);
  wire.send(message);
}

/** {Certificate}, {CertificateVerify} of a client that was asked. */
function* expectClientAuthentication(
  wire: HandshakeWire,
  transcript: TranscriptHash,
  options: ServerEngineOptions,
  { selected }: PskOutcome,
): Steps<void> {
  const expectation: CertificateExpectation = {
    peer: 'client',
    signatureSchemes: options.signatureSchemes,
    requestedExtensions: options.requestOcspStaple ? [ExtensionType.statusRequest] : [],
    context: selected?.context,
  };
  const message = yield* receive('ExpectClientCertificate', HandshakeType.certificate);
  const certificate = yield* judgeCertificate(wire, transcript, message, expectation);
  yield* expectCertificateVerify(transcript, certificate, expectation);
}
