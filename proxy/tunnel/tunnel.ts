/** What services of both roles share: accepting within limits, and draining. */
import { randomBytes } from 'node:crypto';
import { type AcceptedSocket, addressText, type SocketAddress } from '../data-path/index.ts';
import { ProxyError, ProxyErrorCode } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import { type Listener, listen } from './listener.ts';
import type { Tunnel, TunnelSettings } from './settings.ts';

/** A connection's place among those of its service. */
export interface Slot {
  readonly connectionId: string;
  /** Set by whoever serves it: how to end it at once. */
  cut: (failure: ProxyError) => void;
  /** The handshake is over, for better or worse. */
  handshakeDone(): void;
  /** The connection is over, or somebody else's from now on. */
  free(): void;
}

export interface TunnelRole {
  readonly role: 'client' | 'server';
  readonly settings: Pick<TunnelSettings, 'service' | 'accept' | 'limits'>;
  readonly log: EventLog;
  serve(accepted: AcceptedSocket, slot: Slot): void;
  /** Nothing will be served any more. */
  stopped?(): void;
}

/** Tells connections of this process from those of the one before, in logs that outlive both. */
const processTag = randomBytes(4).toString('hex');
let connectionsSoFar = 0;

/**
 * Starts to accept.
 *
 * @throws ProxyError `ERR_PROXY_ADDRESS_IN_USE` or `ERR_PROXY_LISTEN`.
 */
export async function startTunnel(role: TunnelRole): Promise<Tunnel> {
  const tunnel = new RunningTunnel(role);
  await tunnel.start();
  return tunnel;
}

class RunningTunnel implements Tunnel {
  readonly #role: TunnelRole;
  readonly #live = new Set<Slot>();
  readonly #repeats = new RepeatLimiter();
  #listener: Listener | undefined;
  #pendingHandshakes = 0;
  #onEmpty: (() => void) | undefined;

  constructor(role: TunnelRole) {
    this.#role = role;
  }

  get service(): string {
    return this.#role.settings.service;
  }

  get role(): 'client' | 'server' {
    return this.#role.role;
  }

  get address(): SocketAddress {
    return this.#listener?.address ?? this.#role.settings.accept;
  }

  get connectionCount(): number {
    return this.#live.size;
  }

  async start(): Promise<void> {
    this.#listener = await listen(this.#role.settings.accept, {
      connection: (accepted) => this.#accept(accepted),
      acceptFailed: (error) => this.#notAccepted(error),
    });
    this.#role.log.info({
      event: 'listening',
      service: this.service,
      role: this.role,
      address: addressText(this.#listener.address),
    });
  }

  async drain(deadlineMs: number): Promise<number> {
    await this.#listener?.close();
    let timer: NodeJS.Timeout | undefined;
    if (this.#live.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onEmpty = resolve;
        timer = setTimeout(resolve, deadlineMs);
      });
    }
    clearTimeout(timer);
    const cut = await this.#cutAll(`still open ${deadlineMs} ms after the stop`);
    this.#role.stopped?.();
    return cut;
  }

  async close(): Promise<void> {
    await this.#listener?.close();
    await this.#cutAll('the service was closed');
    this.#role.stopped?.();
  }

  async #cutAll(why: string): Promise<number> {
    const left = [...this.#live];
    if (left.length === 0) return 0;
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    for (const slot of left) slot.cut(new ProxyError(ProxyErrorCode.shutdown, why));
    await empty;
    return left.length;
  }

  #accept(accepted: AcceptedSocket): void {
    const refusal = this.#limitReached();
    if (refusal !== undefined) {
      accepted.reset();
      this.#notAccepted(refusal, accepted.remoteAddress);
      return;
    }
    const slot = this.#openSlot();
    try {
      this.#role.serve(accepted, slot);
    } catch (error) {
      accepted.reset();
      slot.free();
      this.#notAccepted(new ProxyError(ProxyErrorCode.internal, `internal error: ${String(error)}`, { cause: error }));
    }
  }

  #limitReached(): ProxyError | undefined {
    const { maxConnections, maxPendingHandshakes } = this.#role.settings.limits;
    if (this.#live.size >= maxConnections) {
      return new ProxyError(ProxyErrorCode.tooManyConnections, `max-connections of ${maxConnections} reached`);
    }
    if (this.#pendingHandshakes >= maxPendingHandshakes) {
      return new ProxyError(
        ProxyErrorCode.tooManyHandshakes,
        `max-pending-handshakes of ${maxPendingHandshakes} reached`,
      );
    }
    return undefined;
  }

  #openSlot(): Slot {
    let pending = true;
    const handshakeDone = () => {
      if (pending) this.#pendingHandshakes--;
      pending = false;
    };
    const slot: Slot = {
      connectionId: `${processTag}-${++connectionsSoFar}`,
      cut: () => {},
      handshakeDone,
      free: () => {
        handshakeDone();
        this.#live.delete(slot);
        if (this.#live.size === 0) this.#onEmpty?.();
      },
    };
    this.#live.add(slot);
    this.#pendingHandshakes++;
    return slot;
  }

  #notAccepted(error: ProxyError, clientAddress?: string): void {
    const pass = this.#repeats.pass(error.code);
    if (pass === undefined) return;
    this.#role.log.warn({
      event: 'not-accepted',
      service: this.service,
      code: error.code,
      error: error.message,
      ...(clientAddress === undefined ? {} : { clientAddress }),
      ...(pass.suppressed === 0 ? {} : { suppressed: pass.suppressed }),
    });
  }
}
