/**
 * A key manager of any of the three APIs that answers rightly until it is told
 * to fail in one way. Both ends of a link are two of these over one
 * `LinkModel`. A server of its own and no `qkd-sim`: it must be able to send
 * whatever bytes, at whatever pace.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { Cancel, Clock } from '../../../kdi-client/index.ts';
import { Etsi004Splitter } from '../../../kdi-client/wire/index.ts';
import type { TestIdentity, TestPki } from '../support/test-pki.ts';
import { type FaultyCalls, isWireFault, type KmeFault, type SpokenFault, type WireFault } from './faults.ts';
import type { LinkModel } from './link-model.ts';
import type { Spoken } from './spoken.ts';
import { Spoken004 } from './spoken-004.ts';
import { HttpSplitter, isKeyCall, SpokenHttp } from './spoken-http.ts';

export interface FaultyKmeOptions {
  readonly api: 'etsi004' | 'etsi014' | 'skip';
  readonly side: 'drawer' | 'answerer';
  readonly pki: TestPki;
  readonly model: LinkModel;
  readonly clock: Clock;
}

export class FaultyKme {
  readonly #options: FaultyKmeOptions;
  readonly #spoken004: Spoken004;
  readonly #spokenHttp: SpokenHttp;
  readonly #sockets = new Set<Socket>();
  #server: Server;
  #secureContext: SecureContext;
  readonly #timers = new Set<Cancel>();
  #fault: KmeFault | undefined;
  #calls: FaultyCalls = 'key';
  /** Requests, or connections, that the fault was applied to. */
  struck = 0;
  /** Connections that it sits on: nothing moves there before time does. */
  stalled = 0;
  connections = 0;
  port = 0;

  private constructor(options: FaultyKmeOptions) {
    this.#options = options;
    this.#secureContext = contextOf(options.pki, options.pki.kme);
    this.#spoken004 = new Spoken004(options.model, options.side);
    this.#spokenHttp = new SpokenHttp(options.model);
    this.#server = this.#newServer();
  }

  static async start(options: FaultyKmeOptions): Promise<FaultyKme> {
    const kme = new FaultyKme(options);
    await kme.#listen();
    return kme;
  }

  /** Sockets open now. */
  get open(): number {
    return this.#sockets.size;
  }

  /** 004 streams open now. */
  get streams(): number {
    return this.#spoken004.streams;
  }

  /** Bytes that the other side has taken from the sockets that are open. */
  get bytesSent(): number {
    return [...this.#sockets].reduce((sum, socket) => sum + socket.bytesWritten - socket.writableLength, 0);
  }

  /** Fails like this from now on, until told otherwise. */
  fail(fault: KmeFault | undefined, calls: FaultyCalls = 'key'): void {
    this.#fault = fault;
    this.#calls = calls;
  }

  /** New connections meet this certificate; those that stand go on. */
  useIdentity(identity: TestIdentity): void {
    this.#secureContext = contextOf(this.#options.pki, identity);
  }

  /** All connections break; without memory, no stream is known any more, nor a key that waited to be fetched. */
  async restart({ memory }: { readonly memory: boolean }): Promise<void> {
    await this.close();
    if (!memory) {
      this.#spoken004.forget();
      if (this.#options.side === 'answerer') this.#options.model.forgetHeld();
    }
    this.#server = this.#newServer();
    await this.#listen();
  }

  /** Breaks what stands; the listener stays. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      for (const cancel of this.#timers) cancel();
      this.#timers.clear();
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
  }

  #newServer(): Server {
    return createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  #listen(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(this.port, '127.0.0.1', () => {
        this.port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
    if (this.#fault?.fault === 'slam' || this.#fault?.fault === 'mute') {
      this.struck++;
      if (this.#fault.fault === 'slam') socket.destroy();
      else {
        socket.resume();
        this.#sitOn(socket);
      }
      return;
    }
    const tls = new TLSSocket(socket, {
      isServer: true,
      secureContext: this.#secureContext,
      requestCert: true,
      rejectUnauthorized: true,
    });
    tls.on('error', () => socket.destroy());
    tls.once('secure', () => this.#serve(tls, socket));
  }

  #serve(tls: TLSSocket, raw: Socket): void {
    const isHttp = this.#options.api !== 'etsi004';
    const http = new HttpSplitter();
    const frames = new Etsi004Splitter('requests');
    tls.on('data', (chunk: Buffer) => {
      if (isHttp) {
        for (const request of http.push(chunk)) {
          const fault = this.#faultOf(isKeyCall(request) ? 'key' : 'open');
          this.#reply(tls, raw, fault, (spoken) => this.#spokenHttp.answer(request, spoken));
        }
        return;
      }
      for (const frame of frames.push(chunk)) {
        const fault = this.#faultOf(frame.service === 4 ? 'key' : frame.service === 2 ? 'open' : 'close');
        this.#reply(tls, raw, fault, (spoken) => this.#spoken004.answer(frame, spoken));
      }
    });
  }

  #faultOf(call: 'key' | 'open' | 'close'): KmeFault | undefined {
    return this.#calls === 'all' || this.#calls === call ? this.#fault : undefined;
  }

  #reply(
    tls: TLSSocket,
    raw: Socket,
    fault: KmeFault | undefined,
    answer: (fault: SpokenFault | undefined) => Spoken,
  ): void {
    if (fault !== undefined) this.struck++;
    if (isWireFault(fault)) this.#send(tls, raw, fault, () => answer(undefined));
    else {
      const spoken = answer(fault);
      // A key that comes in bad form is spent at the key manager, and nobody has it.
      if (fault !== undefined && SPOILS.has(fault.fault)) this.#lose(spoken);
      this.#sendWhole(tls, spoken);
    }
  }

  #sendWhole(tls: TLSSocket, { bytes, closes }: Spoken): void {
    if (closes) tls.end(bytes);
    else tls.write(bytes);
  }

  #lose({ names }: Spoken): void {
    for (const name of names) this.#options.model.lost.add(name);
  }

  #send(tls: TLSSocket, raw: Socket, fault: WireFault, answer: () => Spoken): void {
    switch (fault.fault) {
      case 'hang':
      case 'slam':
      case 'mute':
        this.#sitOn(raw);
        return;
      case 'delay': {
        const release = this.#sitOn(raw);
        this.#later(() => {
          // A request whose client has gone is not carried out.
          if (raw.destroyed) return;
          release();
          this.#sendWhole(tls, answer());
        }, fault.ms);
        return;
      }
      case 'reset':
      case 'end': {
        const spoken = answer();
        this.#lose(spoken);
        const cut = (): void => {
          if (fault.fault === 'reset') raw.resetAndDestroy();
          else tls.end();
        };
        if (fault.afterBytes === 0) cut();
        else tls.write(spoken.bytes.subarray(0, fault.afterBytes), cut);
        return;
      }
      case 'stall': {
        const spoken = answer();
        this.#lose(spoken);
        tls.write(spoken.bytes.subarray(0, fault.afterBytes), () => this.#sitOn(raw));
        return;
      }
      case 'drip': {
        const spoken = answer();
        this.#lose(spoken);
        const release = this.#sitOn(raw);
        const next = (at: number): void => {
          if (raw.destroyed) return;
          tls.write(spoken.bytes.subarray(at, at + 1));
          if (at + 1 === spoken.bytes.length) {
            for (const name of spoken.names) this.#options.model.lost.delete(name);
            release();
          } else this.#later(() => next(at + 1), fault.everyMs);
        };
        next(0);
        return;
      }
      case 'instead':
        tls.end(fault.bytes);
        return;
      case 'rewrite': {
        const spoken = answer();
        this.#lose(spoken);
        tls.end(fault.rewrite(spoken.bytes));
        return;
      }
      case 'endless':
        tls.write(fault.head);
        pour(tls);
    }
  }

  #later(callback: () => void, delayMs: number): void {
    const cancel = this.#options.clock.schedule(() => {
      this.#timers.delete(cancel);
      callback();
    }, delayMs);
    this.#timers.add(cancel);
  }

  /** Counts a connection as one that waits for time to pass, until it closes or `release` is called. */
  #sitOn(socket: Socket): () => void {
    if (socket.destroyed) return () => {};
    this.stalled++;
    let released = false;
    const release = (): void => {
      if (!released) this.stalled--;
      released = true;
    };
    socket.once('close', release);
    return release;
  }
}

function contextOf({ ca }: TestPki, { cert, key }: TestIdentity): SecureContext {
  return createSecureContext({ cert, key, ca, sessionIdContext: 'faulty-kme' });
}

const SPOILS: ReadonlySet<KmeFault['fault']> = new Set(['length', 'other-id', 'other-bits', 'twice', 'surplus']);

function pour(socket: TLSSocket): void {
  // Not blanks: HTTP lets any number of those stand before a header's value.
  const block = new Uint8Array(0x1_0000).fill(0x79);
  const more = (): void => {
    while (!socket.destroyed && socket.write(block));
  };
  socket.on('drain', more);
  more();
}
