import type { CipherSuiteInfo } from '../crypto/index.ts';
import type { HandshakeSummary } from '../engine-types.ts';
import type {
  ClientApplicationTrafficSecret,
  ExporterSecret,
  MainSecret,
  ResumptionSecret,
  ServerApplicationTrafficSecret,
} from '../key-schedule/index.ts';

/** What a completed handshake leaves behind. The connection owns its secrets and wipes them. */
export interface Session {
  readonly summary: HandshakeSummary;
  readonly suite: CipherSuiteInfo;
  /** Both ends set the feature bit: rekeying is on and a plain KeyUpdate is not allowed. */
  readonly rekeyNegotiated: boolean;
  /** main_0, from which a rekey goes on. */
  readonly mainSecret: MainSecret;
  readonly clientApplicationTrafficSecret: ClientApplicationTrafficSecret;
  readonly serverApplicationTrafficSecret: ServerApplicationTrafficSecret;
  readonly exporterSecret: ExporterSecret;
  readonly resumptionSecret: ResumptionSecret;
  /** th_0: Transcript-Hash through client Finished. */
  readonly transcriptHash: Uint8Array;
}

export function wipeSession(session: Session): void {
  session.mainSecret.wipe();
  session.clientApplicationTrafficSecret.wipe();
  session.serverApplicationTrafficSecret.wipe();
  session.exporterSecret.wipe();
  session.resumptionSecret.wipe();
}
