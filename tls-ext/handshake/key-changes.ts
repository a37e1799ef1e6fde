/** The two changes of keys that a handshake makes, and what it leaves behind: the same in both roles. */

import type { SecretBytes } from '../bytes/index.ts';
import { type CipherSuiteInfo, defaultKeyAgreements, type TranscriptHash } from '../crypto/index.ts';
import type { EngineOptions, HandshakeSummary } from '../engine-types.ts';
import {
  type ClientApplicationTrafficSecret,
  type ClientHandshakeTrafficSecret,
  deriveTrafficKeys,
  type EarlySecret,
  type ExporterSecret,
  type HandshakeSecret,
  type MainSecret,
  type ServerApplicationTrafficSecret,
  type ServerHandshakeTrafficSecret,
} from '../key-schedule/index.ts';
import { logSecret } from './key-log.ts';
import type { Session, SessionSettings } from './session.ts';
import type { HandshakeWire, SecretScope } from './steps.ts';

export interface HandshakeKeys {
  readonly handshakeSecret: HandshakeSecret;
  readonly clientHandshakeTrafficSecret: ClientHandshakeTrafficSecret;
  readonly serverHandshakeTrafficSecret: ServerHandshakeTrafficSecret;
}

/** Owned by the handshake's scope until `completeSession`. */
export interface ApplicationKeys {
  readonly mainSecret: MainSecret;
  readonly clientApplicationTrafficSecret: ClientApplicationTrafficSecret;
  readonly serverApplicationTrafficSecret: ServerApplicationTrafficSecret;
  readonly exporterSecret: ExporterSecret;
}

/** Who derives, and with what. */
export interface KeyChange {
  readonly role: 'client' | 'server';
  readonly wire: HandshakeWire;
  readonly scope: SecretScope;
  readonly options: EngineOptions;
  readonly suite: CipherSuiteInfo;
  readonly transcript: TranscriptHash;
  readonly clientRandom: Uint8Array;
}

/** After ServerHello: both directions go on under handshake keys. Takes the early and the shared secret. */
export function enterHandshakeKeys(
  { role, wire, scope, options, suite, transcript, clientRandom }: KeyChange,
  earlySecret: EarlySecret,
  sharedSecret: SecretBytes,
): HandshakeKeys {
  const handshakeSecret = scope.own(earlySecret.toHandshakeSecret(sharedSecret));
  const transcriptHash = transcript.snapshot();
  const clientSecret = scope.own(handshakeSecret.clientHandshakeTrafficSecret(transcriptHash));
  const serverSecret = scope.own(handshakeSecret.serverHandshakeTrafficSecret(transcriptHash));
  logSecret(options, 'CLIENT_HANDSHAKE_TRAFFIC_SECRET', clientRandom, clientSecret);
  logSecret(options, 'SERVER_HANDSHAKE_TRAFFIC_SECRET', clientRandom, serverSecret);
  wire.protectReceiving(deriveTrafficKeys(suite, role === 'client' ? serverSecret : clientSecret));
  wire.protectSending(deriveTrafficKeys(suite, role === 'client' ? clientSecret : serverSecret));
  return {
    handshakeSecret,
    clientHandshakeTrafficSecret: clientSecret,
    serverHandshakeTrafficSecret: serverSecret,
  };
}

/** At the server's Finished: the application secrets. When each direction changes to them is the caller's step. */
export function deriveApplicationKeys(
  { scope, options, transcript, clientRandom }: KeyChange,
  { handshakeSecret }: HandshakeKeys,
): ApplicationKeys {
  const mainSecret = scope.own(handshakeSecret.toMainSecret());
  const transcriptHash = transcript.snapshot();
  const clientSecret = scope.own(mainSecret.clientApplicationTrafficSecret(transcriptHash));
  const serverSecret = scope.own(mainSecret.serverApplicationTrafficSecret(transcriptHash));
  const exporterSecret = scope.own(mainSecret.exporterSecret(transcriptHash));
  logSecret(options, 'CLIENT_TRAFFIC_SECRET_0', clientRandom, clientSecret);
  logSecret(options, 'SERVER_TRAFFIC_SECRET_0', clientRandom, serverSecret);
  logSecret(options, 'EXPORTER_SECRET', clientRandom, exporterSecret);
  return {
    mainSecret,
    clientApplicationTrafficSecret: clientSecret,
    serverApplicationTrafficSecret: serverSecret,
    exporterSecret,
  };
}

/** After the client's Finished: what the connection goes on with, taken out of the handshake's scope. */
export function completeSession(
  { scope, options, suite, transcript, clientRandom }: KeyChange,
  { mainSecret, clientApplicationTrafficSecret, serverApplicationTrafficSecret, exporterSecret }: ApplicationKeys,
  summary: HandshakeSummary,
  settings: Pick<SessionSettings, 'wantsTickets' | 'rekeyWithoutKey'>,
): Session {
  const transcriptHash = transcript.snapshot();
  const { random, keyAgreements = defaultKeyAgreements } = options;
  // A copy: what is a view of the ClientHello would keep the whole of it.
  const ownClientRandom = Uint8Array.from(clientRandom);
  return {
    summary,
    suite,
    clientApplicationTrafficSecret: scope.release(clientApplicationTrafficSecret),
    serverApplicationTrafficSecret: scope.release(serverApplicationTrafficSecret),
    exporterSecret: scope.release(exporterSecret),
    epoch: {
      number: 0,
      mainSecret: scope.release(mainSecret),
      exporterSecret: exporterSecret.clone() as ExporterSecret,
      resumptionSecret: mainSecret.resumptionSecret(transcriptHash),
      transcriptHash,
    },
    settings: { random, keyAgreements, ...settings },
    logSecret: (label, secret) => logSecret(options, label, ownClientRandom, secret),
  };
}
