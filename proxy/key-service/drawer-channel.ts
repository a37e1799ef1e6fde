/**
 * The client's end of the key channel to one address. Which process of which
 * peer is there is known once it has authenticated itself and said hello; its
 * keys are then the ones for connections to this address.
 */
import { type DrawerGreeting, HELLO_TIMEOUT_MS, helloOverdue } from '../../tls-ext/index.ts';
import type { EventLog } from '../log.ts';
import { type Requirement, stricterRequirement } from '../policy.ts';
import type { ChannelEnd, DialledChannel } from './channel-dialler.ts';
import type { GreetedConnection } from './drawer-link.ts';
import type { DrawingService, PeerChannel, PeerKeys } from './peer-keys.ts';

export interface DrawerChannelOptions {
  readonly ownSae: string;
  /** Where the channel leads, for the log. */
  readonly address: string;
  readonly services: readonly DrawingService[];
  readonly log: EventLog;
  createGreeting(): DrawerGreeting;
  /** The keys of the process that `channel` has reached now. */
  keysOf(channel: DrawerChannel, peerSae: string, instance: Uint8Array): PeerKeys;
}

interface Connection extends DialledChannel, GreetedConnection {
  /** The process is known. */
  joined: boolean;
}

export class DrawerChannel implements ChannelEnd, PeerChannel {
  readonly address: string;
  readonly services: readonly DrawingService[];
  readonly #options: DrawerChannelOptions;
  #keys: PeerKeys | undefined;
  #connection: Connection | undefined;
  #helloTimer: NodeJS.Timeout | undefined;
  #peerRequirement: Requirement | undefined;
  readonly #keyListeners = new Set<() => void>();
  /** Ends when the channel leads to other keys. */
  #same = new AbortController();
  /** `keys-ready` was logged, and there has been a key ever since. */
  #readySaid = false;
  #stopped = false;

  constructor(options: DrawerChannelOptions) {
    this.#options = options;
    this.address = options.address;
    this.services = options.services;
  }

  /** The keys for connections to this address. */
  get keys(): PeerKeys | undefined {
    return this.#keys;
  }

  /** Aborted when `keys` becomes another one. */
  get sameKeys(): AbortSignal {
    return this.#same.signal;
  }

  /** What the services behind the address require, as they said last. */
  get peerRequirement(): Requirement | undefined {
    return this.#peerRequirement;
  }

  connected(connection: DialledChannel): void {
    const greeting = this.#options.createGreeting();
    this.#connection = { ...connection, greeting, joined: false };
    connection.send(greeting.hello());
    this.#helloTimer = setTimeout(() => connection.hangUp(helloOverdue()), HELLO_TIMEOUT_MS);
  }

  /** No keys are had from here any more: what still comes in is ignored, until the connection is closed. */
  stop(): void {
    this.#stopped = true;
  }

  receive(bytes: Uint8Array): void {
    const connection = this.#connection;
    if (connection === undefined || this.#stopped) return;
    if (connection.joined) {
      this.#keys?.receive(this, bytes);
      return;
    }
    const { greeting, peerSae } = connection;
    const failure = greeting.receive(bytes);
    if (failure !== undefined) {
      if (failure.bytes !== undefined) connection.send(failure.bytes);
      connection.hangUp(failure.error);
      return;
    }
    const { peer } = greeting;
    if (peer === undefined) return;
    clearTimeout(this.#helloTimer);
    connection.joined = true;
    connection.greeted();
    this.#peerRequirement = peer.services.map(({ require }) => require).reduce(stricter, undefined);
    this.#use(this.#options.keysOf(this, peerSae, peer.instance));
    this.#keys?.connected(this, connection);
  }

  disconnected(): void {
    clearTimeout(this.#helloTimer);
    const joined = this.#connection?.joined;
    this.#connection = undefined;
    if (joined) this.#keys?.disconnected(this);
  }

  keysChanged(count: number): void {
    if (count === 0) this.#readySaid = false;
    if (count > 0) for (const listener of [...this.#keyListeners]) listener();
    if (count === 0 || this.#readySaid || this.#keys === undefined) return;
    this.#readySaid = true;
    const { ownSae: sae, address, log } = this.#options;
    log.info({ event: 'keys-ready', sae, peer: this.#keys.peerSae, role: 'drawer', address, count });
  }

  /** Calls `listener` when there are keys, until the function that it returns is called. */
  onKeys(listener: () => void): () => void {
    this.#keyListeners.add(listener);
    return () => this.#keyListeners.delete(listener);
  }

  /** Resolves when the channel leads to other keys, or to its first ones; at the latest when time is up or `signal` fires. */
  moved(withinMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const either = AbortSignal.any([this.#same.signal, signal]);
      const done = (): void => {
        clearTimeout(timer);
        either.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, withinMs);
      if (either.aborted) done();
      else either.addEventListener('abort', done);
    });
  }

  #use(keys: PeerKeys): void {
    if (keys === this.#keys) return;
    this.#keys = keys;
    this.#readySaid = false;
    const before = this.#same;
    this.#same = new AbortController();
    before.abort();
  }
}

function stricter(a: Requirement | undefined, b: Requirement): Requirement {
  return a === undefined ? b : stricterRequirement(a, b);
}
