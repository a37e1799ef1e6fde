/**
 * Joins one TLS engine and one socket: the engine knows no IO, the socket no
 * TLS. Owns the socket, the handshake's deadline and the way a connection
 * ends; whoever handles its events never touches the socket.
 *
 * Life: `handshaking` → `open` → `closing` → `closed`. In `closing` everything
 * still to be sent is flushed, and what the peer sends is read and dropped for
 * a moment: closing a socket with unread data makes the kernel send a reset,
 * which can overtake the alert that says why.
 */
import type { Socket } from 'node:net';
import {
  type Alert,
  Alert as Alerts,
  type EngineEvent,
  type IssuedTicket,
  type PeerVerdict,
  type PskDecision,
  type QkdPsk,
  type TicketHandle,
  type TlsEngine,
} from '../../tls-ext/index.ts';
import { errorText, ProxyError, ProxyErrorCode } from '../errors.ts';
import type {
  DataHandler,
  HandshakeHandler,
  KeyEvent,
  KeyHandler,
  TlsConnectionOptions,
} from './connection-handlers.ts';
import { EngineEvents } from './engine-events.ts';
import { CONGESTED_BYTES, RELIEVED_BYTES } from './flow-control.ts';
import { IdleTimer } from './idle-timer.ts';
import { type AcceptedSocket, dial, remoteAddressOf, type SocketAddress } from './raw-socket.ts';
import { tlsReadBuffer } from './read-buffers.ts';

/** How long a closing connection waits for the peer's end, and before that for the end of a rekey under way. */
export const LINGER_MS = 2_000;

type State = 'handshaking' | 'open' | 'closing' | 'closed';

export class TlsConnection {
  readonly #engine: TlsEngine;
  readonly #handler: HandshakeHandler;
  #socket!: Socket;
  #data: DataHandler | undefined;
  #keys: KeyHandler | undefined;
  readonly #idleTimer = new IdleTimer(this, () => this.#data?.idle());
  #dataBytes = 0;
  #dataAlarmAt = Number.POSITIVE_INFINITY;
  #state: State = 'handshaking';
  #failure: Error | undefined;
  #connected: boolean;
  #peerClosed = false;
  #writeClosed = false;
  /** The socket closes when the engine has sent its close_notify, which waits for a rekey to end. */
  #closeWhenSent = false;
  #readPaused = false;
  #reliefWanted = false;
  #timer: NodeJS.Timeout | undefined;
  #engineAlive = true;
  readonly #events = new EngineEvents((event) => this.#dispatch(event));

  private constructor(options: TlsConnectionOptions, connected: boolean) {
    this.#engine = options.engine;
    this.#handler = options.handler;
    this.#connected = connected;
    this.#timer = setTimeout(() => this.#handshakeLate(options.handshakeTimeoutMs), options.handshakeTimeoutMs);
  }

  /** Serves a connection that was accepted. */
  static accept(accepted: AcceptedSocket, options: TlsConnectionOptions): TlsConnection {
    const connection = new TlsConnection(options, true);
    const socket = accepted.take(tlsReadBuffer, (storage, length) => connection.#onChunk(storage, length));
    connection.#attach(socket);
    connection.#run(() => connection.#engine.start());
    return connection;
  }

  /** Dials, and starts the handshake when the transport is up. */
  static dial(address: SocketAddress, options: TlsConnectionOptions): TlsConnection {
    const connection = new TlsConnection(options, false);
    const socket = dial(address, tlsReadBuffer, (storage, length) => connection.#onChunk(storage, length));
    connection.#attach(socket);
    socket.once('connect', () => {
      connection.#connected = true;
      connection.#run(() => connection.#engine.start());
    });
    return connection;
  }

  get state(): State {
    return this.#state;
  }

  /** `host:port` of the peer, as far as the system knows it. */
  get remoteAddress(): string {
    return remoteAddressOf(this.#socket);
  }

  /** More is waiting to be sent than should be. Once seen true, `relieved` is called when it is over. */
  get congested(): boolean {
    if (this.#socket.writableLength <= CONGESTED_BYTES) return false;
    this.#reliefWanted = true;
    return true;
  }

  setDataHandler(handler: DataHandler): void {
    this.#data = handler;
  }

  setKeyHandler(handler: KeyHandler): void {
    this.#keys = handler;
  }

  /** Application data of both directions. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  /** Once `dataBytes` has reached this, `dataAlarm` is called, once. */
  setDataAlarm(atBytes: number): void {
    this.#dataAlarmAt = atBytes;
  }

  /** One of the two directions is closed: there is no rekey any more. */
  get halfClosed(): boolean {
    return this.#peerClosed || this.#writeClosed;
  }

  /** Whether `rekey` would start one. */
  get rekeyPossible(): boolean {
    return this.#state === 'open' && this.#engineAlive && !this.#closeWhenSent && this.#engine.rekeyPossible;
  }

  /** Completed rekeys. */
  get epoch(): number {
    return this.#engine.epoch;
  }

  /** Client: starts a rekey, only while `rekeyPossible`. Takes ownership of the key. */
  rekey(key?: QkdPsk): void {
    this.#run(() => this.#engine.rekey(key));
  }

  /** Server: asks for one. */
  wantRekey(): void {
    if (this.rekeyPossible) this.#run(() => this.#engine.wantRekey());
  }

  /** Server: the answer to `rekey-key-required`. Takes ownership of the key. */
  provideRekeyKey(key: QkdPsk | undefined): void {
    this.#run(() => this.#engine.provideRekeyKey(key));
  }

  /** Server: sends a ticket. `undefined`: nothing can be sent any more. */
  issueTicket(ticket: TicketHandle): IssuedTicket | undefined {
    if (!this.#canSend()) return undefined;
    let issued: IssuedTicket | undefined;
    this.#run(() => {
      issued = this.#engine.issueTicket(ticket);
      return issued?.events ?? [];
    });
    return issued;
  }

  providePsk(decision: PskDecision): void {
    // It may have ended while the key was being looked for.
    if (this.#state !== 'handshaking' && decision.action === 'use') decision.psk.secret.wipe();
    this.#run(() => this.#engine.providePsk(decision));
  }

  provideVerdict(verdict: PeerVerdict): void {
    this.#run(() => this.#engine.provideVerdict(verdict));
  }

  /** RFC 8446, 7.5. After the handshake. */
  exportKeyingMaterial(label: string, lengthBytes: number): Uint8Array {
    return this.#engine.exportKeyingMaterial(label, new Uint8Array(0), lengthBytes);
  }

  send(plaintext: Uint8Array): void {
    if (!this.#canSend()) return;
    this.#run(() => this.#engine.send(plaintext));
    this.#countData(plaintext.length);
  }

  /** Seals `storage[0, length)` without a copy; `storage[length]` must exist. */
  sendInPlace(storage: Uint8Array, length: number): void {
    if (!this.#canSend()) return;
    this.#run(() => this.#engine.sendInPlace(storage, 0, length));
    this.#countData(length);
  }

  pauseReading(): void {
    this.#readPaused = true;
    this.#socket.pause();
  }

  resumeReading(): void {
    this.#readPaused = false;
    if (!this.#socket.destroyed) this.#socket.resume();
  }

  /** 0 turns it off. */
  setIdleTimeout(timeoutMs: number): void {
    this.#idleTimer.set(timeoutMs);
  }

  /** What `setIdleTimeout` looks at, beside `dataBytes`. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  /** Lets the kernel find out about a peer that vanished. */
  keepAlive(afterMs: number): void {
    this.#socket.setKeepAlive(true, afterMs);
  }

  /** Half-close: close_notify; receiving goes on. */
  closeWrite(): void {
    if (!this.#canSend()) return;
    this.#writeClosed = true;
    this.#run(() => this.#engine.closeWrite());
    this.#closeWhenBothEnded();
  }

  /** An orderly end whatever the peer still sends: close_notify, then the socket. `failure` is for the log. */
  close(failure?: Error): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#failure ??= failure;
    if (this.#closeWhenSent) return;
    if (this.#state === 'open' && !this.#writeClosed) {
      this.#writeClosed = true;
      this.#run(() => {
        const events = this.#engine.closeWrite();
        this.#closeWhenSent = !events.some(({ type }) => type === 'write');
        return events;
      });
    }
    if (this.#closeWhenSent) this.#awaitRekeyEnd();
    else this.#beginClosing();
  }

  /** Ends with an alert, so that the peer can't take it for an orderly end. */
  abort(alert: Alert, failure?: Error): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#failure ??= failure;
    if (this.#connected) this.#run(() => this.#engine.abort(alert));
    this.#beginClosing();
  }

  /** Ends at once, without a word. */
  destroy(failure: Error): void {
    this.#failure ??= failure;
    this.#socket.destroy();
  }

  #attach(socket: Socket): void {
    this.#socket = socket;
    socket.on('end', () => this.#onTransportEnd());
    socket.on('error', (error) => this.#onTransportError(error));
    socket.once('close', () => this.#onTransportClosed());
  }

  #canSend(): boolean {
    return this.#state === 'open' && !this.#writeClosed && this.#engineAlive;
  }

  /** A rekey is under way, and close_notify comes behind it, or an alert if the peer does not answer. What else comes is of no interest. */
  #awaitRekeyEnd(): void {
    this.#timer = setTimeout(() => this.abort(Alerts.internalError), LINGER_MS);
    this.#idleTimer.set(0);
    this.resumeReading();
  }

  #countData(lengthBytes: number): void {
    this.#dataBytes += lengthBytes;
    if (this.#dataBytes < this.#dataAlarmAt) return;
    this.#dataAlarmAt = Number.POSITIVE_INFINITY;
    this.#keys?.dataAlarm();
  }

  #onChunk(storage: Uint8Array, length: number): boolean {
    if (this.#state !== 'closing' && this.#engineAlive) {
      this.#run(() => this.#engine.receive(storage.subarray(0, length)));
    }
    return !this.#readPaused;
  }

  #run(call: () => EngineEvent[]): void {
    if (!this.#engineAlive) return;
    let handled: boolean;
    try {
      handled = this.#events.handle(call());
    } catch (error) {
      this.#crash(error);
      return;
    }
    if (!handled) return;
    if (this.#state === 'closing') this.#endSocket();
  }

  #dispatch(event: EngineEvent): void {
    switch (event.type) {
      case 'write':
        this.#write(event.bytes, event.release);
        return;
      case 'plaintext':
        this.#countData(event.bytes.length);
        if (this.#state === 'open' && this.#data !== undefined && !this.#closeWhenSent)
          this.#data.plaintext(event.bytes, event.release);
        else event.release?.();
        return;
      case 'psk-required':
        if (this.#handler.pskRequired === undefined) throw new Error('psk-required without a handler for it');
        this.#handler.pskRequired(event);
        return;
      case 'peer-certificate':
        this.#handler.peerCertificate(event);
        return;
      case 'handshake-complete':
        if (this.#state !== 'handshaking') return;
        this.#state = 'open';
        clearTimeout(this.#timer);
        this.#handler.handshakeComplete(event.summary);
        return;
      case 'ticket':
      case 'rekey-wanted':
      case 'rekey-key-required':
      case 'rekeyed':
      case 'rekey-refused':
        this.#keyEvent(event);
        return;
      case 'closed':
        this.#peerClosed = true;
        this.#data?.readEnded();
        this.#closeWhenBothEnded();
        return;
      case 'failed':
        this.#failure ??= event.error;
        this.#beginClosing();
        return;
    }
  }

  #keyEvent(event: KeyEvent): void {
    if (this.#keys !== undefined) this.#keys.keyEvent(event);
    else if (event.type === 'ticket') event.psk.secret.wipe();
    // Its close_notify went out with what ended the rekey.
    const ended = event.type === 'rekeyed' || event.type === 'rekey-refused';
    if (ended && this.#closeWhenSent) this.#beginClosing();
  }

  #write(bytes: Uint8Array, release: (() => void) | undefined): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) {
      release?.();
      return;
    }
    this.#socket.write(bytes, () => {
      release?.();
      if (!this.#reliefWanted || this.#socket.writableLength > RELIEVED_BYTES) return;
      this.#reliefWanted = false;
      if (this.#state === 'open') this.#data?.relieved();
    });
  }

  #closeWhenBothEnded(): void {
    if (this.#peerClosed && this.#writeClosed) this.#beginClosing();
  }

  #beginClosing(): void {
    if (this.#state === 'closing' || this.#state === 'closed') return;
    this.#state = 'closing';
    clearTimeout(this.#timer);
    this.#idleTimer.set(0);
    // What the engine still has to say, such as an alert, stands in the queue that is being worked off.
    if (!this.#events.handling) this.#endSocket();
  }

  #endSocket(): void {
    if (!this.#connected) {
      this.#socket.destroy();
      return;
    }
    if (this.#socket.writableEnded || this.#socket.destroyed) return;
    this.#socket.end();
    this.#timer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
    this.resumeReading();
  }

  #handshakeLate(timeoutMs: number): void {
    const doing = this.#connected ? 'TLS handshake' : 'connection';
    const failure = new ProxyError(ProxyErrorCode.handshakeTimeout, `no ${doing} within ${timeoutMs} ms`);
    // "canceling the handshake for some reason unrelated to a protocol failure" (RFC 8446, 6.1)
    this.abort(Alerts.userCanceled, failure);
  }

  #onTransportEnd(): void {
    if (this.#state === 'handshaking' || this.#state === 'open') this.#run(() => this.#engine.receiveEnd());
  }

  #onTransportError(error: Error): void {
    const [code, what] = this.#connected
      ? [ProxyErrorCode.peerReset, 'connection to the TLS peer lost']
      : [ProxyErrorCode.peerConnect, 'no connection to the TLS peer'];
    this.#failure ??= new ProxyError(code, `${what}: ${errorText(error)}`, { cause: error });
  }

  #onTransportClosed(): void {
    const wasOpen = this.#state;
    this.#state = 'closed';
    clearTimeout(this.#timer);
    this.#idleTimer.set(0);
    this.#destroyEngine();
    if (wasOpen === 'handshaking' || wasOpen === 'open') {
      this.#failure ??= new ProxyError(ProxyErrorCode.peerReset, 'connection to the TLS peer lost');
    }
    this.#handler.ended(this.#failure);
  }

  /** A bug, here or in the engine: this connection is lost, the process is not. */
  #crash(error: unknown): void {
    this.#failure = new ProxyError(ProxyErrorCode.internal, `internal error: ${errorText(error)}`, { cause: error });
    this.#destroyEngine();
    this.#socket.destroy();
  }

  #destroyEngine(): void {
    if (!this.#engineAlive) return;
    this.#engineAlive = false;
    this.#events.drop();
    this.#engine.destroy();
  }
}
