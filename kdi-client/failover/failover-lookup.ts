/**
 * The answerer's end where there are several KMEs. Only one of them is behind
 * the drawer's KME of the moment, and which one is not said: the keys of a
 * stream or a batch tell.
 */
import { isKdiError, KdiErrorCode } from '../errors.ts';
import type {
  CallOptions,
  DeliveredKey,
  KeySource,
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
  /** Opened so far. None is closed before the end: a stream that was closed at a KME can't be opened there again. */
  readonly #streams = new Map<Member, LookupStream>();
  /** The one that had the last key first. */
  #order: Member[];

  constructor(options: FailoverLookupOptions) {
    this.#options = options;
    this.#order = [...options.members];
  }

  /** Of the KME that is asked first. */
  get announcement(): StreamAnnouncement | undefined {
    const [first] = this.#order;
    return first === undefined ? undefined : this.#streams.get(first)?.announcement;
  }

  /**
   * 004: opens the stream at the first KME that knows of the drawer's end of
   * it, or, where none says so, at the first that takes it. Rejects with the
   * KMEs' error if none does.
   */
  async open(): Promise<void> {
    const errors: unknown[] = [];
    let taken: Member | undefined;
    for (const member of this.#order) {
      try {
        const stream = await this.#streamAt(member, this.#options.open);
        taken ??= member;
        if (stream.peerConnected === false) continue;
        taken = member;
        break;
      } catch (error) {
        if (isKdiError(error, KdiErrorCode.aborted)) throw error;
        errors.push(error);
      }
    }
    if (taken === undefined) throw tellingError(errors);
    this.#prefer(taken);
  }

  async lookup(reference: QkdKeyReference, options: CallOptions = {}): Promise<DeliveredKey> {
    const errors: unknown[] = [];
    for (const member of [...this.#order]) {
      try {
        const stream = await this.#streamAt(member, { ...this.#options.open, ...options });
        const key = await member.call(() => stream.lookup(reference, options));
        this.#prefer(member);
        return key;
      } catch (error) {
        if (isKdiError(error, KdiErrorCode.aborted) || !mayBeElsewhere(error, reference)) throw error;
        errors.push(error);
      }
    }
    throw lookupError(errors, reference);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#streams.values()].map((stream) => stream.close()));
  }

  async #streamAt(member: Member, options: OpenLookupOptions): Promise<LookupStream> {
    const known = this.#streams.get(member);
    if (known !== undefined) return known;
    const { source }: { source: KeySource } = member;
    const open = () => source.openLookup(this.#options.drawerSaeId, options);
    // KMEs without streams are asked nothing yet.
    const stream = source.needsStream ? await member.call(open) : await open();
    this.#streams.set(member, stream);
    return stream;
  }

  #prefer(member: Member): void {
    this.#order = [member, ...this.#order.filter((other) => other !== member)];
    this.#options.onFound(member);
  }
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
