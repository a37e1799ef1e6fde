/**
 * The answerer's side of the key channels of one peer: joins the state
 * machine, the peer's connections, and whatever fetches keys from our key
 * manager. That one is seen through a port.
 */
import {
  type AnswererApi,
  type AnswererEvent,
  type ConnectionId,
  type KeyStreamQos,
  type MismatchReport,
  type QkdKeyReference,
  type SecretBytes,
  type ServiceRequirement,
  StateReason,
  StreamFailure,
} from '../../tls-ext/index.ts';
import type { TlsConnection } from '../data-path/index.ts';
import { EventQueue } from './event-queue.ts';
import { Outgoing } from './outgoing.ts';

/** What the link tells the fetcher of keys. */
export interface KeyFetcherPort {
  announceStream(ksid: Uint8Array, qos: KeyStreamQos): void;
  closeStream(ksid: Uint8Array): void;
  announceKeys(references: readonly QkdKeyReference[]): void;
  dropKeys(references: readonly QkdKeyReference[]): void;
  /** Keys that the key manager is being asked for at this moment. */
  lookUpsUnderWay(): number;
}

export interface AnswererLinkOptions {
  readonly machine: AnswererApi;
  readonly nowMs: () => number;
  readonly onMismatch: (report: MismatchReport) => void;
  /** An error code of the key manager's client in the words of the channel. */
  readonly streamFailure: (code: string, unreachable: boolean) => StreamFailure;
  readonly onBug: (error: unknown) => void;
  /** Keys came in or went. */
  readonly onKeys: () => void;
}

const TICK_MS = 1_000;
/** A peer that vanished without a word is found out by the kernel. */
const KEEP_ALIVE_MS = 15_000;

export class AnswererLink {
  readonly #options: AnswererLinkOptions;
  readonly #queue: EventQueue<AnswererEvent>;
  readonly #connections = new Map<ConnectionId, { readonly connection: TlsConnection; readonly outgoing: Outgoing }>();
  #connectionsSoFar = 0;
  #fetcher: KeyFetcherPort | undefined;
  #ticker: NodeJS.Timeout | undefined;

  constructor(options: AnswererLinkOptions) {
    this.#options = options;
    this.#queue = new EventQueue(
      (event) => this.#handle(event),
      (error) => {
        options.onBug(error);
        this.#closeAll();
      },
    );
  }

  /** The fetcher needs the link's methods to be made, so it comes second. */
  attachFetcher(fetcher: KeyFetcherPort): void {
    this.#fetcher = fetcher;
    this.#ticker = setInterval(() => this.#queue.run(() => this.#options.machine.tick(this.#options.nowMs())), TICK_MS);
    this.#ticker.unref();
  }

  stop(): void {
    clearInterval(this.#ticker);
    this.#closeAll();
  }

  /** Takes over a connection of the peer to the port of `service`; returns what must hear of its end. */
  accept(connection: TlsConnection, service: ServiceRequirement): { ended(): void } {
    const id = ++this.#connectionsSoFar;
    const { machine, nowMs } = this.#options;
    this.#connections.set(id, { connection, outgoing: new Outgoing((bytes) => connection.send(bytes)) });
    connection.keepAlive(KEEP_ALIVE_MS);
    connection.setDataHandler({
      plaintext: (bytes, release) => {
        this.#queue.run(() => machine.receive(id, bytes, nowMs()));
        release?.();
      },
      readEnded: () => connection.close(),
      relieved: () => {},
      idle: () => {},
    });
    this.#queue.run(() => machine.connected(id, [service]));
    return {
      ended: () => {
        this.#connections.get(id)?.outgoing.discard();
        this.#connections.delete(id);
        machine.disconnected(id, nowMs());
      },
    };
  }

  /** Tells the peer how key delivery is doing on our side. */
  tellState(state: { readonly kmeName: string; readonly kmeReachable: boolean; readonly poolKeys: number }): void {
    const reasons = state.kmeReachable ? [] : [StateReason.kmeUnreachable];
    this.#queue.run(() => this.#options.machine.setState({ ...state, reasons }));
  }

  // What the fetcher says.

  streamOpened(ksid: Uint8Array, keyChunkSizeBytes: number): void {
    this.#queue.run(() => this.#options.machine.streamOpened(ksid, keyChunkSizeBytes));
  }

  /** It is tried again. `code`: of the key manager's client. */
  streamFailed(ksid: Uint8Array, code: string, unreachable: boolean): void {
    const { machine, streamFailure } = this.#options;
    this.#queue.run(() => machine.streamFailed(ksid, streamFailure(code, unreachable), true));
  }

  /** It was open, and is over. */
  streamLost(ksid: Uint8Array): void {
    this.#queue.run(() => this.#options.machine.streamFailed(ksid, StreamFailure.lost, false));
  }

  /** `secret` is borrowed. False: the check values differ. */
  keyFetched(reference: QkdKeyReference, secret: SecretBytes): boolean {
    const events = this.#options.machine.provideKey(reference, secret.clone());
    let accepted = false;
    for (const event of events) {
      if (event.type !== 'key-accepted') continue;
      // The store has its own copy of the key.
      event.secret.wipe();
      accepted = true;
    }
    this.#queue.run(() => events);
    return accepted;
  }

  keyPending(reference: QkdKeyReference): void {
    this.#queue.run(() => this.#options.machine.reportPending(reference));
  }

  keyNotFound(reference: QkdKeyReference): void {
    this.#queue.run(() => this.#options.machine.reportNotFound(reference));
  }

  /** A handshake burnt it. */
  keyBurnt(reference: QkdKeyReference): void {
    this.#options.machine.keyEnded(reference);
    this.#options.onKeys();
  }

  #closeAll(): void {
    for (const { connection, outgoing } of this.#connections.values()) {
      outgoing.flush();
      connection.close();
    }
  }

  #fail(id: ConnectionId, error: Error): void {
    const failed = this.#connections.get(id);
    failed?.outgoing.flush();
    failed?.connection.close(error);
  }

  #handle(event: AnswererEvent): void {
    const fetcher = this.#fetcher as KeyFetcherPort;
    switch (event.type) {
      case 'write':
        this.#connections.get(event.connection)?.outgoing.push(event.bytes, fetcher.lookUpsUnderWay() > 0);
        return;
      case 'ready':
      case 'peer-state':
        return;
      case 'stream-requested':
        fetcher.announceStream(event.ksid, event.qos);
        return;
      case 'stream-ended':
        fetcher.closeStream(event.ksid);
        return;
      case 'keys-announced':
        fetcher.announceKeys(event.references);
        return;
      case 'key-accepted':
        this.#options.onKeys();
        return;
      case 'key-withdrawn':
        fetcher.dropKeys([event.reference]);
        this.#options.onKeys();
        return;
      case 'mismatch':
        this.#options.onMismatch(event.report);
        return;
      case 'failed':
        this.#fail(event.connection, event.error);
        return;
    }
  }
}
