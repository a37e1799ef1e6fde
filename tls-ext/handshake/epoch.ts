/** The secrets that a handshake or a rekey leads to, and which of them each direction is under. */
import type { CipherSuiteInfo } from '../crypto/index.ts';
import {
  type ApplicationTrafficSecret,
  deriveTrafficKeys,
  type ExporterSecret,
  type MainSecret,
  nextTrafficSecret,
  type ResumptionSecret,
  type TrafficKeys,
} from '../key-schedule/index.ts';
import type { Session } from './session.ts';

/** One epoch: 0 is the handshake's, each completed rekey makes the next. Owns its secrets. */
export interface Epoch {
  readonly number: number;
  readonly mainSecret: MainSecret;
  readonly exporterSecret: ExporterSecret;
  readonly resumptionSecret: ResumptionSecret;
  /** th_N: of the handshake through client Finished, after a rekey Hash(th_{N-1} || RekeyRequest || RekeyResponse). */
  readonly transcriptHash: Uint8Array;
}

/** Epoch N+1, from main_{N+1}, of which it becomes the owner. */
export function nextEpoch(current: Epoch, mainSecret: MainSecret, transcriptHash: Uint8Array): Epoch {
  return {
    number: current.number + 1,
    mainSecret,
    exporterSecret: mainSecret.exporterSecret(transcriptHash),
    resumptionSecret: mainSecret.resumptionSecret(transcriptHash),
    transcriptHash,
  };
}

function wipeEpoch({ mainSecret, exporterSecret, resumptionSecret }: Epoch): void {
  mainSecret.wipe();
  exporterSecret.wipe();
  resumptionSecret.wipe();
}

/** Where new keys go. */
export interface KeyChanges {
  protectSending(keys: TrafficKeys): void;
  /** `unexpected_message` if a part of a message has come under the old keys. */
  protectReceiving(keys: TrafficKeys): void;
}

/** The two directions of a connection. An epoch that both have left is wiped. */
export class Directions {
  readonly #changes: KeyChanges;
  readonly #role: 'client' | 'server';
  readonly #session: Session;
  #sending: Epoch;
  #receiving: Epoch;
  #sendingSecret: ApplicationTrafficSecret;
  #receivingSecret: ApplicationTrafficSecret;

  constructor(changes: KeyChanges, role: 'client' | 'server', session: Session) {
    const { epoch, clientApplicationTrafficSecret, serverApplicationTrafficSecret } = session;
    this.#changes = changes;
    this.#role = role;
    this.#session = session;
    this.#sending = epoch;
    this.#receiving = epoch;
    this.#sendingSecret = role === 'client' ? clientApplicationTrafficSecret : serverApplicationTrafficSecret;
    this.#receivingSecret = role === 'client' ? serverApplicationTrafficSecret : clientApplicationTrafficSecret;
  }

  /** The epoch of what is sent. */
  get sending(): Epoch {
    return this.#sending;
  }

  /** The epoch of what is received. */
  get receiving(): Epoch {
    return this.#receiving;
  }

  /** The last epoch that is in use both ways: of completed handshakes and rekeys. */
  get complete(): Epoch {
    return this.#sending.number < this.#receiving.number ? this.#sending : this.#receiving;
  }

  /** All that is sent from here on is under this epoch. */
  sendUnder(epoch: Epoch): void {
    const left = this.#sending;
    this.#sending = epoch;
    this.#sendingSecret.wipe();
    this.#sendingSecret = this.#trafficSecret(epoch, this.#role);
    this.#changes.protectSending(deriveTrafficKeys(this.#suite, this.#sendingSecret));
    if (left !== this.#receiving) wipeEpoch(left);
  }

  /** All that is received from here on is under this epoch. */
  receiveUnder(epoch: Epoch): void {
    const left = this.#receiving;
    this.#receiving = epoch;
    this.#receivingSecret.wipe();
    this.#receivingSecret = this.#trafficSecret(epoch, this.#role === 'client' ? 'server' : 'client');
    this.#changes.protectReceiving(deriveTrafficKeys(this.#suite, this.#receivingSecret));
    if (left !== this.#sending) wipeEpoch(left);
  }

  /** What follows our KeyUpdate. */
  updateSendingKeys(): void {
    this.#sendingSecret = nextTrafficSecret(this.#suite.hash, this.#sendingSecret);
    this.#changes.protectSending(deriveTrafficKeys(this.#suite, this.#sendingSecret));
  }

  /** What follows the peer's KeyUpdate. */
  updateReceivingKeys(): void {
    this.#receivingSecret = nextTrafficSecret(this.#suite.hash, this.#receivingSecret);
    this.#changes.protectReceiving(deriveTrafficKeys(this.#suite, this.#receivingSecret));
  }

  wipe(): void {
    wipeEpoch(this.#sending);
    wipeEpoch(this.#receiving);
    this.#sendingSecret.wipe();
    this.#receivingSecret.wipe();
  }

  get #suite(): CipherSuiteInfo {
    return this.#session.suite;
  }

  #trafficSecret({ number, mainSecret, transcriptHash }: Epoch, sender: 'client' | 'server'): ApplicationTrafficSecret {
    const secret =
      sender === 'client'
        ? mainSecret.clientApplicationTrafficSecret(transcriptHash)
        : mainSecret.serverApplicationTrafficSecret(transcriptHash);
    this.#session.logSecret(
      sender === 'client' ? `CLIENT_TRAFFIC_SECRET_${number}` : `SERVER_TRAFFIC_SECRET_${number}`,
      secret,
    );
    return secret;
  }
}
