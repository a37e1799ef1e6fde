/**
 * The answerer's end where there are several KMEs. Only one of them is behind
 * the drawer's KME of the moment, and which one is not said: the keys of a
 * stream or a batch tell.
 */
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import type {
  CallOptions,
  DeliveredKey,
  LookupStream,
  OpenLookupOptions,
  QkdKeyReference,
  StreamAnnouncement,
} from '../key-source.ts';
import { isLookupFault } from './circuit-breaker.ts';
import { type Member, tellingError } from './member.ts';

export interface FailoverLookupOptions {
  /** In the order in which they are tried. */
  readonly members: readonly Member[];
  readonly drawerSaeId: string;
  readonly open: OpenLookupOptions;
  /** The KME that has the keys. */
  readonly onFound: (member: Member) => void;
}

export class FailoverLookup implements LookupStream {
  readonly #options: FailoverLookupOptions;
  /**
   * Opened so far, or being opened, for whoever asks meanwhile. None is closed before the end: a stream that was closed
   * at a KME can't be opened there again.
   */
  readonly #streams = new Map<Member, Promise<LookupStream>>();
  readonly #abort = new AbortController();
  #announcement: StreamAnnouncement | undefined;
  /** The one that had the last key first. */
  #order: Member[];

  constructor(options: FailoverLookupOptions) {
    this.#options = options;
    this.#order = [...options.members];
  }

  /** As the KME that is asked first granted it. */
  get announcement(): StreamAnnouncement | undefined {
    return this.#announcement;
  }

  /**
   * 004: opens the stream at the first KME that knows of the drawer's end of
   * it, or, where none says so, at the first that takes it. Rejects with the
   * KMEs' error if none does.
   */
  async open(): Promise<void> {
    const errors: unknown[] = [];
    let taken: readonly [Member, LookupStream] | undefined;
    for (const member of this.#order) {
      try {
        const stream = await this.#streamAt(member, {});
        taken ??= [member, stream];
        if (stream.peerConnected === false) continue;
        taken = [member, stream];
        break;
      } catch (error) {
        if (isKdiError(error, KdiErrorCode.aborted)) throw error;
        errors.push(error);
      }
    }
    if (taken === undefined) throw tellingError(errors);
    this.#prefer(...taken);
  }

  async lookup(reference: QkdKeyReference, options: CallOptions = {}): Promise<DeliveredKey> {
    const errors: unknown[] = [];
    for (const member of [...this.#order]) {
      try {
        const stream = await this.#streamAt(member, options);
        const key = await member.call(() => stream.lookup(reference, options));
        this.#prefer(member, stream);
        return key;
      } catch (error) {
        if (isKdiError(error, KdiErrorCode.aborted) || !mayBeElsewhere(error, reference)) throw error;
        errors.push(error);
      }
    }
    throw lookupError(errors, reference);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    // One that comes although it was given up is closed as well.
    const opened = await Promise.all([...this.#streams.values()].map((stream) => stream.catch(() => undefined)));
    await Promise.all(opened.map((stream) => stream?.close()));
  }

  #streamAt(member: Member, { signal }: CallOptions): Promise<LookupStream> {
    if (this.#abort.signal.aborted || signal?.aborted) return Promise.reject(aborted());
    let stream = this.#streams.get(member);
    if (stream === undefined) {
      stream = this.#openAt(member);
      this.#streams.set(member, stream);
      stream.catch(() => this.#streams.delete(member));
    }
    return unlessAborted(stream, signal);
  }

  /** Whoever asked first may give up: others wait for it too. */
  async #openAt(member: Member): Promise<LookupStream> {
    const { source } = member;
    const { drawerSaeId, open: options } = this.#options;
    const signal = AbortSignal.any([this.#abort.signal, ...(options.signal === undefined ? [] : [options.signal])]);
    const open = () => source.openLookup(drawerSaeId, { ...options, signal });
    // KMEs without streams are asked nothing yet.
    return source.needsStream ? await member.call(open) : await open();
  }

  #prefer(member: Member, { announcement }: LookupStream): void {
    this.#order = [member, ...this.#order.filter((other) => other !== member)];
    this.#announcement = announcement;
    this.#options.onFound(member);
  }
}

/** What `promise` comes to, for one who may give up before the others. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  let onAbort = (): void => {};
  const givenUp = new Promise<never>((_, reject) => {
    onAbort = () => reject(aborted());
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([promise, givenUp]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function aborted(): KdiError {
  return new KdiError(KdiErrorCode.aborted, 'the look-up was given up');
}

/** As `tellingError`; but a KME that is being rested may be the one that has the key, which a not-found elsewhere must not hide. */
function lookupError(errors: readonly unknown[], { api }: QkdKeyReference): unknown {
  const faults = errors.filter((error) => isLookupFault(error, api));
  return tellingError(faults.length > 0 ? faults : errors);
}

/** Whether another KME may have a key that this one did not give. */
function mayBeElsewhere(error: unknown, { api }: QkdKeyReference): boolean {
  return (
    isLookupFault(error, api) ||
    isKdiError(error, KdiErrorCode.keyNotFound) ||
    // The drawer has drawn from the stream: where it isn't known to be there, it isn't.
    isKdiError(error, KdiErrorCode.peerNotConnected)
  );
}
