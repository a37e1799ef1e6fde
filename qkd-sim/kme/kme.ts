import { randomBytes } from 'node:crypto';
import { Etsi004Status } from '../../kdi-client/wire/index.ts';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import type { SharedKey } from '../stores/index.ts';
import { type Etsi004Handler, serveEtsi004 } from './etsi004-connection.ts';
import type { KeyPurpose } from './key-purpose.ts';
import { KeyStreams } from './key-streams.ts';
import type { KmeEventListener } from './kme-event.ts';
import { type KmePeer, PeerDirectory } from './peer-directory.ts';
import { DEFAULT_QOS_LIMITS, type QosLimits } from './qos.ts';
import type { SaeIdentityField } from './sae-identity.ts';
import type { StreamPort } from './stream-port.ts';
import { type KmeTls, TlsListener } from './tls-listener.ts';

/** How a key manager behaves where the standards leave it open. All have defaults. */
export interface KmeSettings {
  /** Whether OPEN_CONNECT (004) with a given KSID waits for the other application; default `immediate`. */
  readonly open?: 'immediate' | 'blocking';
  readonly qos?: Partial<QosLimits>;
  /** Where client certificates carry the SAE ID; default `san-uri`. */
  readonly saeIdentity?: SaeIdentityField;
  /** 004 streams of one application; default 256. */
  readonly maxStreamsPerSae?: number;
  /** After which an unused 004 stream ends (its TTL, if that is longer); default an hour. */
  readonly idleStreamMs?: number;
  /** Default 1024. */
  readonly maxConnections?: number;
  /** Default 10 s. */
  readonly handshakeTimeoutMs?: number;
  /** For a client to send a request, and to take a reply; default 10 s. */
  readonly requestTimeoutMs?: number;
}

export interface KmeOptions {
  readonly kmeId: string;
  /** The applications that this key manager serves. */
  readonly saeIds: readonly string[];
  readonly tls: KmeTls;
  readonly settings?: KmeSettings;
  /** Default: the machine's. */
  readonly clock?: Clock;
  /** For IDs, not for key; default the operating system's generator. */
  readonly randomBytes?: (length: number) => Uint8Array;
  readonly onEvent?: KmeEventListener;
}

/** One node's key manager: hands the key that it shares with its peers to the node's applications. */
export class Kme {
  readonly kmeId: string;
  readonly saeIds: readonly string[];
  readonly #directory: PeerDirectory;
  readonly #streams: KeyStreams;
  readonly #etsi004: TlsListener;
  readonly #onEvent: KmeEventListener;

  constructor(options: KmeOptions) {
    const { settings = {}, clock = systemClock } = options;
    this.kmeId = options.kmeId;
    this.saeIds = options.saeIds;
    this.#onEvent = options.onEvent ?? (() => {});
    this.#directory = new PeerDirectory(options.saeIds);
    this.#streams = new KeyStreams({
      kmeId: options.kmeId,
      directory: this.#directory,
      clock,
      randomBytes: options.randomBytes ?? ((length) => Uint8Array.from(randomBytes(length))),
      settings: {
        open: settings.open ?? 'immediate',
        qos: { ...DEFAULT_QOS_LIMITS, ...settings.qos },
        maxStreamsPerSae: settings.maxStreamsPerSae ?? 256,
        idleStreamMs: settings.idleStreamMs ?? 3_600_000,
      },
    });
    this.#etsi004 = new TlsListener({
      tls: options.tls,
      handshakeTimeoutMs: settings.handshakeTimeoutMs ?? 10_000,
      maxConnections: settings.maxConnections ?? 1024,
      saeIdentity: settings.saeIdentity ?? 'san-uri',
      onRejected: (remote, reason) => this.#rejected(remote, reason),
      onClient: (socket, saeId) => {
        const remote = socket.remoteAddress ?? 'unknown';
        if (saeId === undefined) this.#rejected(remote, 'the certificate does not name one SAE');
        serveEtsi004(socket, {
          clock,
          requestTimeoutMs: settings.requestTimeoutMs ?? 10_000,
          handle: this.etsi004Handler(saeId ?? ''),
          onRejected: (reason) => this.#rejected(remote, reason),
        });
      },
    });
  }

  /** Makes a peer known. Both key managers of a link have to be told before either is asked for key. */
  addPeer(peer: KmePeer): void {
    this.#directory.add(peer);
    peer.supply.setReceiver({
      admits: (purpose) => this.#admits(purpose),
      receive: (purpose, shared) => this.#receive(purpose, shared),
    });
  }

  /** Answers 004 requests of one application, as the TLS side does. */
  etsi004Handler(saeId: string): Etsi004Handler {
    return async (request, dialect, signal) => {
      const response = await this.#streams.handle(saeId, request, dialect, signal);
      if (response.service === 'get-key' && response.status === Etsi004Status.success && response.delivery) {
        const ksid = request.service === 'get-key' ? hexOf(request.ksid) : '';
        const { index, key } = response.delivery;
        this.#onEvent({
          type: 'key-delivered',
          kmeId: this.kmeId,
          saeId,
          api: 'etsi004',
          reference: `${ksid}/${index}`,
          lengthBytes: key.length,
        });
      }
      return response;
    };
  }

  /** This key manager as the one with ID `fromKmeId` reaches it. */
  portFor(fromKmeId: string): StreamPort {
    return {
      announceOpen: async (announcement) => this.#streams.acceptOpen({ ...announcement, fromKmeId }),
      announceClose: (ksid) => this.#streams.acceptClose(fromKmeId, ksid),
      requestChunk: (ksid, index) => this.#streams.acceptChunkRequest(fromKmeId, ksid, index),
      announceRestart: () => this.#streams.acceptRestart(fromKmeId),
    };
  }

  /** Serves 004; resolves to the port. */
  listenEtsi004(host: string, port: number): Promise<number> {
    return this.#etsi004.listen(host, port);
  }

  /** Open 004 streams. */
  get streamCount(): number {
    return this.#streams.streamCount;
  }

  /** As after a crash and restart without memory: connections break, streams and their keys are gone, the peers hear of it. */
  restart(): void {
    this.#etsi004.dropClients();
    this.#streams.forget(true);
  }

  /** Ends connections, timers and keys. Idempotent. */
  async close(): Promise<void> {
    await this.#etsi004.close();
    this.#streams.forget(false);
  }

  #admits(purpose: KeyPurpose): boolean {
    return purpose.api === 'etsi004' && this.#streams.admits(purpose);
  }

  #receive(purpose: KeyPurpose, shared: SharedKey): void {
    if (purpose.api === 'etsi004') this.#streams.receive(purpose, shared);
    else shared.key.wipe();
  }

  #rejected(remote: string, reason: string): void {
    this.#onEvent({ type: 'client-rejected', kmeId: this.kmeId, remote, reason });
  }
}
