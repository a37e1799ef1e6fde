/** Certificate and CertificateVerify, ours and the peer's, in both roles (RFC 8446, 4.4.2 and 4.4.3). */
import { Alert } from '../alert.ts';
import { concatBytes, utf8 } from '../bytes/index.ts';
import { type TranscriptHash, verifySignature } from '../crypto/index.ts';
import type { EngineIdentity, QkdPskContext } from '../engine-types.ts';
import {
  decodeCertificate,
  decodeCertificateVerify,
  encodeCertificate,
  encodeCertificateVerify,
  extensionName,
  HandshakeType,
} from '../messages/index.ts';
import { TlsError, TlsErrorCode } from '../tls-error.ts';
import { decryptError, illegalParameter, unsupportedExtension } from './faults.ts';
import { awaitVerdict, bodyOf, type HandshakeMessage, type HandshakeWire, receive, type Steps } from './steps.ts';

export type Role = 'client' | 'server';

const empty = new Uint8Array(0);
const padding = new Uint8Array(64).fill(0x20);
const contexts: Readonly<Record<Role, Uint8Array>> = {
  client: utf8('TLS 1.3, client CertificateVerify\0'),
  server: utf8('TLS 1.3, server CertificateVerify\0'),
};

/** What a CertificateVerify signs: 64 spaces, context string, zero, Transcript-Hash. */
export function certificateVerifyContent(signer: Role, transcriptHash: Uint8Array): Uint8Array {
  return concatBytes(padding, contexts[signer], transcriptHash);
}

/** The scheme to sign with: our first that the peer accepts. */
export function chooseSignatureScheme(identity: EngineIdentity, accepted: readonly number[]): number | undefined {
  return identity.signatureSchemes.find((scheme) => accepted.includes(scheme));
}

/** Certificate. Without an identity an empty one: "I have none" (clients only). */
export function sendCertificate(
  wire: HandshakeWire,
  transcript: TranscriptHash,
  identity: EngineIdentity | undefined,
  ocspResponse: Uint8Array | undefined,
): void {
  const certificateList = (identity?.chain ?? []).map((certData, index) => ({
    certData,
    extensions: index === 0 && ocspResponse !== undefined ? { statusRequest: ocspResponse } : {},
  }));
  const message = encodeCertificate({ certificateRequestContext: empty, certificateList });
  transcript.update(message);
  wire.send(message);
}

export function sendCertificateVerify(
  wire: HandshakeWire,
  transcript: TranscriptHash,
  signer: Role,
  identity: EngineIdentity,
  scheme: number,
): void {
  const signature = identity.sign(scheme, certificateVerifyContent(signer, transcript.snapshot()));
  const message = encodeCertificateVerify({ algorithm: scheme, signature });
  transcript.update(message);
  wire.send(message);
}

/** What we asked of the peer's certificate. */
export interface CertificateExpectation {
  readonly peer: Role;
  /** SignatureSchemes that we said we accept. */
  readonly signatureSchemes: readonly number[];
  /** Extensions that may stand in a CertificateEntry, because we asked for them. */
  readonly requestedExtensions: readonly number[];
  /** Of the QKD key in use: whose SAE IDs the certificate must name. */
  readonly context: QkdPskContext | undefined;
}

/** The peer's key, as the verdict on its chain gave it. */
export interface JudgedCertificate {
  readonly publicKeySpki: Uint8Array;
}

/** {Certificate}, and the verdict on it. */
export function* judgeCertificate(
  wire: HandshakeWire,
  transcript: TranscriptHash,
  message: HandshakeMessage,
  expectation: CertificateExpectation,
): Steps<JudgedCertificate> {
  const { certificateRequestContext, certificateList } = decodeCertificate(bodyOf(message));
  transcript.update(message.bytes);
  if (certificateRequestContext.length !== 0) throw illegalParameter('certificate_request_context in a handshake');
  if (certificateList.length === 0) throw noCertificate(expectation.peer);
  for (const { extensionList } of certificateList) {
    for (const { type } of extensionList) {
      if (!expectation.requestedExtensions.includes(type)) {
        throw unsupportedExtension(`${extensionName(type)} in a certificate, not asked for`);
      }
    }
  }
  const ocspResponse = certificateList[0]?.extensions.statusRequest;
  wire.emit({
    type: 'peer-certificate',
    chain: certificateList.map(({ certData }) => certData),
    ...(expectation.context === undefined ? {} : { context: expectation.context }),
    ...(ocspResponse === undefined ? {} : { ocspResponse }),
  });
  const verdict = yield* awaitVerdict(expectation.peer === 'server' ? 'ExpectServerVerdict' : 'ExpectClientVerdict');
  if (!verdict.ok) {
    const message = `the ${expectation.peer}'s certificate was refused: ${verdict.error.message}`;
    throw new TlsError(TlsErrorCode.peerCertificate, verdict.alert, message, { cause: verdict.error });
  }
  return { publicKeySpki: verdict.publicKeySpki };
}

/** {CertificateVerify} */
export function* expectCertificateVerify(
  transcript: TranscriptHash,
  certificate: JudgedCertificate,
  { peer, signatureSchemes }: CertificateExpectation,
): Steps<void> {
  const state = peer === 'server' ? 'ExpectServerCertificateVerify' : 'ExpectClientCertificateVerify';
  const message = yield* receive(state, HandshakeType.certificateVerify);
  const { algorithm, signature } = decodeCertificateVerify(bodyOf(message));
  if (!signatureSchemes.includes(algorithm)) throw illegalParameter('CertificateVerify with a scheme not offered');
  const content = certificateVerifyContent(peer, transcript.snapshot());
  if (!verifySignature(algorithm, certificate.publicKeySpki, content, signature)) {
    throw decryptError(`the ${peer}'s CertificateVerify does not verify`);
  }
  transcript.update(message.bytes);
}

function noCertificate(peer: Role): TlsError {
  return peer === 'client'
    ? new TlsError(TlsErrorCode.certificateRequired, Alert.certificateRequired, 'the client has no certificate')
    : new TlsError(TlsErrorCode.decode, Alert.decodeError, 'the server sent an empty certificate list');
}
