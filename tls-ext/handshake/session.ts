import type { CipherSuiteInfo, KeyAgreementProvider } from '../crypto/index.ts';
import type { HandshakeSummary } from '../engine-types.ts';
import type {
  ClientApplicationTrafficSecret,
  ExporterSecret,
  ServerApplicationTrafficSecret,
} from '../key-schedule/index.ts';
import type { Epoch } from './epoch.ts';
import type { SecretLog } from './key-log.ts';

/** What a completed handshake leaves behind. The connection owns its secrets and wipes them. */
export interface Session {
  readonly summary: HandshakeSummary;
  readonly suite: CipherSuiteInfo;
  readonly clientApplicationTrafficSecret: ClientApplicationTrafficSecret;
  readonly serverApplicationTrafficSecret: ServerApplicationTrafficSecret;
  /** Of the handshake, for the whole life of the connection. */
  readonly exporterSecret: ExporterSecret;
  /** Epoch 0, from which a rekey goes on. */
  readonly epoch: Epoch;
  readonly settings: SessionSettings;
  readonly logSecret: SecretLog;
}

/** What of the options goes on to bind. */
export interface SessionSettings {
  readonly random: (lengthBytes: number) => Uint8Array;
  readonly keyAgreements: KeyAgreementProvider;
  /** Client: tickets are asked for. */
  readonly wantsTickets: boolean;
  /** Server: what a rekey without a key is answered with. */
  readonly rekeyWithoutKey: 'accept' | 'refuse';
}
