import { randomBytes } from 'node:crypto';
import { uuidOfBytes } from '../../kdi-client/wire/index.ts';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import type { SharedKey } from '../stores/index.ts';
import { type Etsi004Handler, serveEtsi004 } from './etsi004-connection.ts';
import { answerEtsi014, DEFAULT_ETSI014_LIMITS, type Etsi014Limits } from './etsi014-api.ts';
import type { HttpCall, HttpReply } from './http-reply.ts';
import { HttpsListener } from './https-listener.ts';
import { type IdentifiedKey, IdentifiedKeys } from './identified-keys.ts';
import type { IdentifiedApi, KeyPurpose } from './key-purpose.ts';
import { KeyStreams } from './key-streams.ts';
import type { KmeEventListener } from './kme-event.ts';
import { type KmePeer, PeerDirectory } from './peer-directory.ts';
import { DEFAULT_QOS_LIMITS, type QosLimits } from './qos.ts';
import type { KmeQuirks } from './quirks.ts';
import { etsi004QuirkLayer } from './quirks-004.ts';
import type { SaeIdentityField } from './sae-identity.ts';
import { answerSkip } from './skip-api.ts';
import type { StreamPort } from './stream-port.ts';
import { type KmeTls, TlsListener } from './tls-listener.ts';
import { uuid4 } from './uuid.ts';

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
  /** Of 014. */
  readonly etsi014?: Partial<Etsi014Limits>;
  /** What SKIP lists as remoteSystemID, globs allowed; default the SAEs of the peers. */
  readonly skipRemoteSystemIds?: readonly string[];
  /** Keys with IDs (014, SKIP) that nobody fetches are wiped after it; default an hour. */
  readonly keyTtlMs?: number;
  /** Keys with IDs that may wait to be fetched; default 10,000. */
  readonly maxWaitingKeys?: number;
  /** Misbehaviour seen in the field, for tests of clients; default none. */
  readonly quirks?: KmeQuirks;
  /** Of each server; default 1024. */
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
  /** Stands between the 004 server and the streams; see `etsi004Faults`. */
  readonly etsi004Layer?: Etsi004Layer;
}

/** Changes how the 004 calls of one application are answered. */
export type Etsi004Layer = (saeId: string, handle: Etsi004Handler) => Etsi004Handler;

/** One node's key manager: hands the key that it shares with its peers to the node's applications. */
export class Kme {
  readonly kmeId: string;
  readonly saeIds: readonly string[];
  readonly #options: KmeOptions;
  readonly #directory: PeerDirectory;
  readonly #streams: KeyStreams;
  readonly #keys: IdentifiedKeys;
  readonly #etsi004Layers: readonly Etsi004Layer[];
  readonly #etsi004: TlsListener;
  readonly #https: HttpsListener;

  constructor(options: KmeOptions) {
    const { settings = {}, clock = systemClock, tls, kmeId } = options;
    const random = options.randomBytes ?? systemRandomBytes;
    this.kmeId = kmeId;
    this.saeIds = options.saeIds;
    this.#options = options;
    const directory = new PeerDirectory(options.saeIds);
    this.#directory = directory;
    this.#streams = new KeyStreams({
      kmeId,
      directory,
      clock,
      randomBytes: random,
      settings: {
        open: settings.open ?? 'immediate',
        qos: { ...DEFAULT_QOS_LIMITS, ...settings.qos },
        maxStreamsPerSae: settings.maxStreamsPerSae ?? 256,
        idleStreamMs: settings.idleStreamMs ?? 3_600_000,
      },
    });
    this.#keys = new IdentifiedKeys({
      directory,
      clock,
      keyTtlMs: settings.keyTtlMs ?? 3_600_000,
      maxWaitingKeys: settings.maxWaitingKeys ?? 10_000,
      newKeyId: (api) => newKeyId(api, random),
      deliveryDelayMs: settings.quirks?.etsi014?.deliveryDelayMs ?? 0,
      dropsUnfetched: settings.quirks?.etsi014?.dropsUnfetched ?? false,
    });
    this.#etsi004Layers = [
      ...(settings.quirks?.etsi004 === undefined ? [] : [etsi004QuirkLayer(settings.quirks.etsi004, epochMs)]),
      ...(options.etsi004Layer === undefined ? [] : [options.etsi004Layer]),
    ];
    const listener = {
      tls,
      handshakeTimeoutMs: settings.handshakeTimeoutMs ?? 10_000,
      requestTimeoutMs: settings.requestTimeoutMs ?? 10_000,
      maxConnections: settings.maxConnections ?? 1024,
      saeIdentity: settings.saeIdentity ?? 'san-uri',
      onRejected: (remote: string, reason: string) => this.#rejected(remote, reason),
    };
    this.#etsi004 = new TlsListener({
      ...listener,
      onClient: (socket, saeId) => {
        const remote = socket.remoteAddress ?? 'unknown';
        if (saeId === undefined) this.#rejected(remote, 'the certificate does not name one SAE');
        serveEtsi004(socket, {
          clock,
          requestTimeoutMs: listener.requestTimeoutMs,
          handle: this.etsi004Handler(saeId ?? ''),
          onRejected: (reason) => this.#rejected(remote, reason),
        });
      },
    });
    this.#https = new HttpsListener({
      ...listener,
      isServed: (saeId) => directory.isLocal(saeId),
      answer: (call) => this.#answerHttp(call, random),
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
    const handle: Etsi004Handler = async (request, dialect, signal) => {
      const response = await this.#streams.handle(saeId, request, dialect, signal);
      if (request.service === 'get-key' && response.service === 'get-key' && response.delivery !== undefined) {
        const { index, key } = response.delivery;
        this.#delivered(saeId, 'etsi004', `${hexOf(request.ksid)}/${index}`, key.length);
      }
      return response;
    };
    return this.#etsi004Layers.reduce((inner, layer) => layer(saeId, inner), handle);
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

  /** Serves 014 and SKIP, whose paths don't collide; resolves to the port. */
  listenHttps(host: string, port: number): Promise<number> {
    return this.#https.listen(host, port);
  }

  /** Open 004 streams. */
  get streamCount(): number {
    return this.#streams.streamCount;
  }

  /** As after a crash and restart without memory: connections break, undelivered keys are gone, the peers hear of it. */
  restart(): void {
    this.#etsi004.dropClients();
    this.#https.dropClients();
    this.#streams.forget(true);
    this.#keys.forget();
  }

  /** Ends connections, timers and keys. Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.#etsi004.close(), this.#https.close()]);
    this.#streams.forget(false);
    this.#keys.forget();
  }

  async #answerHttp(call: HttpCall, random: (length: number) => Uint8Array): Promise<HttpReply | undefined> {
    const { settings = {} } = this.#options;
    const context = { kmeId: this.kmeId, directory: this.#directory, keys: this.#keys, randomBytes: random };
    const told = (api: IdentifiedApi) => (saeId: string, keys: readonly IdentifiedKey[]) => {
      for (const { keyId, key } of keys) this.#delivered(saeId, api, keyId, key.length);
    };
    const reply = await answerEtsi014(
      {
        ...context,
        limits: { ...DEFAULT_ETSI014_LIMITS, ...settings.etsi014 },
        quirks: settings.quirks?.etsi014 ?? {},
        onDelivered: told('etsi014'),
      },
      call,
    );
    if (reply !== undefined) return reply;
    const { skipRemoteSystemIds: remoteSystemIds } = settings;
    const skip = { ...context, onDelivered: told('skip') };
    return answerSkip(remoteSystemIds === undefined ? skip : { ...skip, remoteSystemIds }, call);
  }

  #admits(purpose: KeyPurpose): boolean {
    return purpose.api === 'etsi004' ? this.#streams.admits(purpose) : this.#keys.admits(purpose);
  }

  #receive(purpose: KeyPurpose, shared: SharedKey): void {
    if (purpose.api === 'etsi004') this.#streams.receive(purpose, shared);
    else this.#keys.receive(purpose, shared);
  }

  #delivered(saeId: string, api: KeyPurpose['api'], reference: string, lengthBytes: number): void {
    const { kmeId } = this;
    this.#options.onEvent?.({ type: 'key-delivered', kmeId, saeId, api, reference, lengthBytes });
  }

  #rejected(remote: string, reason: string): void {
    this.#options.onEvent?.({ type: 'client-rejected', kmeId: this.kmeId, remote, reason });
  }
}

function epochMs(): number {
  return Math.round(performance.timeOrigin + performance.now());
}

function systemRandomBytes(length: number): Uint8Array {
  return Uint8Array.from(randomBytes(length));
}

/** 014 wants a UUID, SKIP 128 bits in hex. */
function newKeyId(api: IdentifiedApi, random: (length: number) => Uint8Array): string {
  const bytes = uuid4(random);
  return api === 'etsi014' ? uuidOfBytes(bytes) : hexOf(bytes);
}
