/**
 * The proxy's log: one JSON object per line on stderr. Every line has `time`
 * (ISO 8601), `level` and `event`; what else is in it is the `LogEvent` of that
 * name. Keys are never in it, and nothing here has a field that could hold one.
 */
import pino from 'pino';
import type { ConnectionMode, FallbackReason } from './policy.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** What is known of one application connection; what never came to be known is absent. */
export interface ConnectionRecord {
  readonly service: string;
  readonly role: 'client' | 'server';
  readonly connectionId: string;
  /** Who connected to us: the application (role client) or the other proxy (role server). */
  readonly clientAddress: string;
  /** SAE ID of the authenticated peer. */
  readonly peer?: string;
  /** By what the peer proved who it is: the algorithms of its certificates, or `psk`. */
  readonly auth?: string;
  /** Where we connected to: the other proxy (role client) or the application (role server). */
  readonly backend?: string;
  readonly mode?: ConnectionMode;
  /** Name of the negotiated group. */
  readonly group?: string;
  /** Name of the cipher suite. */
  readonly cipher?: string;
  /** Reference of the QKD key in the key schedule; of a resumed connection, of the one that it descends from; after rekeys, the last one. */
  readonly keyId?: string;
  /** Of that key: trusted nodes crossed, age, and whether a simulator made it; as far as our key manager said. */
  readonly hops?: number;
  readonly ageMs?: number;
  readonly simulated?: boolean;
  /** By a ticket: no certificates were exchanged, and no QKD key was used. */
  readonly resumed?: true;
  /** Of a resumed connection: how long ago its QKD key was used. */
  readonly keyAgeMs?: number;
  /** Completed ones, if there were any. */
  readonly rekeys?: number;
  /** Why there is no QKD key in it, or why it was refused. */
  readonly reason?: FallbackReason;
  /** The reason came before the peer was authenticated, or in a bare alert. */
  readonly reasonUnauthenticated?: true;
  /** Of a client service: until its handshake, the second one if there were two, began, with a key or without. */
  readonly waitedMs?: number;
  readonly handshakeMs?: number;
  /** 8 bytes of the TLS exporter in hex: equal at both ends of one connection and nowhere else. */
  readonly fingerprint?: string;
}

export type LogEvent =
  | {
      readonly event: 'listening';
      readonly service: string;
      readonly role: 'client' | 'server';
      readonly address: string;
    }
  | ({ readonly event: 'established' } & ConnectionRecord)
  | ({ readonly event: 'fallback'; readonly message: string } & ConnectionRecord)
  /** One for each connection, when it is over. `code` and `error`: how it ended, if not by an orderly close. */
  | ({
      readonly event: 'connection';
      readonly bytesToPeer: number;
      readonly bytesFromPeer: number;
      readonly durationMs: number;
      readonly code?: string;
      readonly error?: string;
      /** The TLS alert that was sent or received. */
      readonly alert?: string;
    } & ConnectionRecord)
  /** A live connection has new keys: from a QKD key and ML-KEM (`used`), or from ML-KEM alone. `mode` is what it has now. */
  | {
      readonly event: 'rekeyed';
      readonly role: 'client' | 'server' | 'drawer' | 'answerer';
      /** Absent for key channels, as the next two. */
      readonly service?: string;
      readonly connectionId?: string;
      readonly mode?: ConnectionMode;
      readonly peer?: string;
      readonly epoch: number;
      readonly status: 'used' | 'without_key';
      readonly keyId?: string;
    }
  /** A rekey came to nothing, and the connection lives on. `binder`: the two ends hold different keys. A client learns of `closed` only: the connection was closed first. */
  | {
      readonly event: 'rekey-refused';
      readonly role: 'client' | 'server' | 'drawer' | 'answerer';
      readonly service?: string;
      readonly connectionId?: string;
      readonly mode?: ConnectionMode;
      readonly peer?: string;
      readonly keyId?: string;
      readonly why?: 'unavailable' | 'binder' | 'policy' | 'closed';
    }
  /** A connection that was closed before anything was read from it, or a failed accept. */
  | {
      readonly event: 'not-accepted';
      /** Lines like this one that were held back before it. */
      readonly suppressed?: number;
      readonly service: string;
      readonly clientAddress?: string;
      readonly code: string;
      readonly error: string;
    }
  | {
      readonly event: 'key-channel';
      readonly sae: string;
      readonly peer?: string;
      readonly role: 'drawer' | 'answerer';
      readonly address?: string;
      readonly state: 'up' | 'down' | 'refused';
      readonly group?: string;
      readonly cipher?: string;
      readonly code?: string;
      readonly error?: string;
      readonly retryInMs?: number;
    }
  /** `count`: agreed keys at hand now. `simulated`: the KME says that no quantum hardware made them. */
  | {
      readonly event: 'keys-ready';
      readonly sae: string;
      readonly peer: string;
      readonly role: 'drawer' | 'answerer';
      /** Drawer: the address that these keys may be used with. */
      readonly address?: string;
      readonly count: number;
      readonly simulated?: true;
    }
  /** The reason for which new connections get no key has changed; absent = they get one. */
  | {
      readonly event: 'keys-unavailable';
      readonly service?: string;
      readonly sae: string;
      readonly peer: string;
      readonly address: string;
      readonly reason: FallbackReason;
      readonly code?: string;
      readonly error?: string;
    }
  | {
      readonly event: 'kme';
      readonly kme: string;
      readonly sae: string;
      /**
       * Of several: `failed` once, with the state of its circuit; `chosen` to serve from now on. `refuses`: it answers, and
       * opens no 004 stream.
       */
      readonly state: 'reachable' | 'unreachable' | 'refuses' | 'quarantined' | 'failed' | 'chosen';
      readonly circuit?: 'closed' | 'open' | 'half-open';
      readonly code?: string;
      readonly error?: string;
    }
  /** Two KMEs delivered different keys under one ID: an operator must look. */
  | {
      readonly event: 'key-mismatch';
      readonly sae: string;
      readonly peer: string;
      readonly keyId?: string;
      readonly kme: string;
      readonly peerKme: string;
      readonly message: string;
    }
  /** The answerer did not get a key that the drawer's key manager gave out, however long it tried. */
  | {
      readonly event: 'key-not-found';
      readonly sae: string;
      readonly peer: string;
      readonly role: 'drawer' | 'answerer';
      readonly keyId: string;
      /** Ours. */
      readonly kme: string;
      readonly message: string;
      /** Answerer: what its key manager said. */
      readonly code?: string;
      readonly error?: string;
      /** Lines like this one that were held back before it. */
      readonly suppressed?: number;
    }
  /** A binder that does not verify: counted, and nothing is burnt for it. */
  | { readonly event: 'bad-binder'; readonly service: string; readonly clientAddress: string; readonly count: number }
  /** A peer of a service with `auth: psk` named a key that it does not get; counted, and often a stranger. `kme`: the key manager did not answer. */
  | {
      readonly event: 'unknown-key';
      readonly service: string;
      readonly clientAddress: string;
      readonly why: 'malformed' | 'used-before' | 'limit' | 'not-found' | 'kme';
      readonly count: number;
      /** Lines like this one that were held back before it. */
      readonly suppressed?: number;
    }
  /** The ledger of used keys can't be written, or is written again. */
  | {
      readonly event: 'ledger';
      readonly state: 'failed' | 'written';
      readonly code?: string;
      readonly error?: string;
      readonly message: string;
    }
  /** Something that an operator should mend, such as a key file that others may read. */
  | { readonly event: 'warning'; readonly service: string; readonly message: string }
  | { readonly event: 'draining'; readonly signal: string; readonly connections: number }
  | { readonly event: 'stopped'; readonly connectionsCut: number }
  | { readonly event: 'internal-error'; readonly service?: string; readonly code: string; readonly error: string };

/** Where events go. */
export interface EventLog {
  debug(event: LogEvent): void;
  info(event: LogEvent): void;
  warn(event: LogEvent): void;
  error(event: LogEvent): void;
  /** The log's end: resolves when what is buffered is written, or can't be. A reader that stalled or went away must not keep a process from ending. */
  flush(): Promise<void>;
}

/** Bytes of log lines kept when their reader stalls; beyond it lines are dropped rather than connections. */
const MAX_BUFFERED_LOG_BYTES = 4 * 1024 * 1024;
/** Lines of so many characters, or of so long a time, go out in one write: one for each would be a sixth of a handshake's cost. */
const BATCH_LENGTH = 8_192;
const BATCH_MS = 10;
/** How long the end of the process waits for the log's reader. */
const MAX_FLUSH_MS = 1_000;

/**
 * The program's log, on a file descriptor (default 2, stderr). Writing is
 * asynchronous: a stalled reader of the log must not stall the data path.
 */
export function createLog(options: { readonly level?: LogLevel; readonly fd?: number } = {}): EventLog {
  // The batches are ours. The destination's own (`minLength`) would keep what comes during a write until another line comes.
  const destination = pino.destination({ dest: options.fd ?? 2, sync: false, maxLength: MAX_BUFFERED_LOG_BYTES });
  let batch = '';
  let batchTimer: NodeJS.Timeout | undefined;
  let ended = false;
  const writeBatch = () => {
    clearTimeout(batchTimer);
    batchTimer = undefined;
    // Without a line there is nothing to write, and a destination that was destroyed would throw.
    if (batch !== '') destination.write(batch);
    batch = '';
  };
  const write = (line: string) => {
    // A late event, of a channel that is just closing, has nowhere to go.
    if (ended) return;
    batch += line;
    if (batch.length >= BATCH_LENGTH) writeBatch();
    else batchTimer ??= setTimeout(writeBatch, BATCH_MS);
  };
  // pino calls it when the process exits, and it would try again for ever if the reader is gone; `flush` does its work.
  destination.flushSync = () => {};
  // A reader that went away (EPIPE) is no reason to stop serving.
  destination.on('error', () => {});
  const flush = () =>
    new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        destination.destroy();
        resolve();
      }, MAX_FLUSH_MS);
      destination.once('close', done);
      destination.once('error', done);
      writeBatch();
      ended = true;
      destination.end();
    });
  return pinoLog({ write }, options.level ?? 'info', flush);
}

/** A log over any destination that takes lines: for tests and embedding. */
export function createLineLog(write: (line: string) => void, level: LogLevel = 'debug'): EventLog {
  return pinoLog({ write }, level, async () => {});
}

function pinoLog(destination: pino.DestinationStream, level: LogLevel, flush: () => Promise<void>): EventLog {
  const logger = pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination,
  );
  return {
    debug: (event) => logger.debug(event),
    info: (event) => logger.info(event),
    warn: (event) => logger.warn(event),
    error: (event) => logger.error(event),
    flush,
  };
}

/** Passes a few of each kind of repeated line in a window of time, and counts the rest. */
export class RepeatLimiter {
  readonly #windowMs: number;
  readonly #perWindow: number;
  readonly #nowMs: () => number;
  readonly #seen = new Map<string, { startMs: number; count: number; suppressed: number }>();

  constructor(options: { windowMs?: number; perWindow?: number; nowMs?: () => number } = {}) {
    this.#windowMs = options.windowMs ?? 10_000;
    this.#perWindow = options.perWindow ?? 5;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** Whether a line of this kind may pass now; if so, how many like it were held back since the last one. */
  pass(kind: string): { readonly suppressed: number } | undefined {
    const nowMs = this.#nowMs();
    const entry = this.#seen.get(kind);
    if (entry === undefined || nowMs - entry.startMs >= this.#windowMs) {
      // Kinds are few (service × code), but a bound costs nothing.
      if (entry === undefined && this.#seen.size >= MAX_LINE_KINDS) this.#seen.clear();
      this.#seen.set(kind, { startMs: nowMs, count: 1, suppressed: 0 });
      return { suppressed: entry?.suppressed ?? 0 };
    }
    entry.count++;
    if (entry.count <= this.#perWindow) return { suppressed: 0 };
    entry.suppressed++;
    return undefined;
  }
}

const MAX_LINE_KINDS = 1_024;
