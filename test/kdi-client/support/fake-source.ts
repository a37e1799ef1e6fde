import { createHash } from 'node:crypto';
import {
  type CallOptions,
  type Clock,
  type KdiErrorCode as Code,
  type DeliveredKey,
  type DrawStream,
  type KdiApi,
  KdiError,
  KdiErrorCode,
  type KeySource,
  type LookupStream,
  type OpenDrawOptions,
  type OpenLookupOptions,
  type QkdKeyReference,
  referenceText,
} from '../../../kdi-client/index.ts';
import { SecretBytes, utf8 } from '../../../tls-ext/bytes/index.ts';

export const QOS = {
  keyChunkSizeBytes: 32,
  maxBps: 0,
  minBps: 0,
  jitterBps: 0,
  priority: 0,
  timeoutMs: 100,
  ttlSeconds: 0,
  metadataMimetype: '',
};

/** The key that both KMEs of a link have under a reference; another `seed`, other keys. */
export function keyOf(reference: QkdKeyReference, seed = ''): SecretBytes {
  return new SecretBytes(
    Uint8Array.from(
      createHash('sha256')
        .update(utf8(seed + referenceText(reference)))
        .digest(),
    ),
  );
}

/** Both key managers of a link in memory; faults by setting fields. */
export class FakeSource implements KeySource {
  readonly api: KdiApi = 'etsi004';
  readonly kme: string = 'kme-a:1';
  readonly needsStream: boolean = true;
  oneBatchAtATime = false;
  readonly #clock: Clock;
  /** Keys left at the KME. */
  available = Number.POSITIVE_INFINITY;
  keysPerChunk = 1;
  ttlMs: number | undefined;
  /** What the next calls fail with. */
  openError: Code | undefined;
  drawError: Code | undefined;
  lookupError: Code | undefined;
  /** Whether a KSID that was drawn from before is replaced. Where it is not, the ledger has to know each key. */
  heedsClaims = false;
  /** Whether a failed draw ends its stream. */
  failureEndsStream = false;
  /** What both sides' keys are made from: differs on a mismatch. */
  seed = '';
  streamsOpened = 0;
  streamsOpen = 0;
  draws = 0;
  lookups = 0;
  /** Every secret handed out, to see them wiped. */
  readonly handedOut: SecretBytes[] = [];
  readonly #spent = new Set<string>();
  #hold: Promise<void> | undefined;
  #letGo: () => void = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The KME lost its memory: it has other bits under old references. */
  forget(seed: string): void {
    this.#spent.clear();
    this.seed = seed;
  }

  /** As the client of a process that just started: it can't know which KSIDs were had before. */
  restart(): void {
    this.streamsOpened = 0;
  }

  /** Calls made from now on wait until `letGo`. */
  hold(): void {
    this.#hold = new Promise((resolve) => {
      this.#letGo = resolve;
    });
  }

  letGo(): void {
    this.#hold = undefined;
    this.#letGo();
  }

  async openDraw(_peer: string, options: OpenDrawOptions = {}): Promise<DrawStream> {
    await this.#answer(this.openError, options);
    let ksid = new Uint8Array(16).fill(++this.streamsOpened);
    if (this.heedsClaims && (await options.claimKsid?.(ksid)) === false) {
      ksid = new Uint8Array(16).fill(++this.streamsOpened);
      await options.claimKsid?.(ksid);
    }
    const announcement = { ksid, qos: { ...QOS, keyChunkSizeBytes: 32 * this.keysPerChunk } };
    options.onAnnouncement?.(announcement);
    this.streamsOpen++;
    let index = 0;
    let ended = false;
    let closed = false;
    const source = this;
    return {
      announcement,
      get ended() {
        return ended;
      },
      async draw(_count, callOptions = {}) {
        source.draws++;
        try {
          await source.#answer(source.drawError, callOptions);
        } catch (error) {
          ended ||= source.failureEndsStream;
          throw error;
        }
        if (source.available < source.keysPerChunk) throw new KdiError(KdiErrorCode.insufficientKey, 'empty');
        source.available -= source.keysPerChunk;
        const at = index++;
        return Array.from({ length: source.keysPerChunk }, (_, slice) =>
          source.#deliver({ api: 'etsi004', drawer: 'siteA', ksid, index: at, slice }, source.seed),
        );
      },
      async close() {
        if (!closed) source.streamsOpen--;
        closed = true;
        ended = true;
      },
    };
  }

  async openLookup(_drawer: string, options: OpenLookupOptions = {}): Promise<LookupStream> {
    await this.#answer(this.openError, options);
    this.streamsOpen++;
    return {
      lookup: async (reference, callOptions = {}) => {
        this.lookups++;
        await this.#answer(this.lookupError, callOptions);
        if (this.#spent.has(referenceText(reference)))
          throw new KdiError(KdiErrorCode.keyNotFound, 'gone', { retryable: false });
        this.#spent.add(referenceText(reference));
        return this.#deliver(reference, this.seed);
      },
      close: async () => {
        this.streamsOpen--;
      },
    };
  }

  async status(): Promise<never> {
    throw new KdiError(KdiErrorCode.unsupported, 'no status');
  }

  async close(): Promise<void> {}

  async #answer(error: Code | undefined, { signal }: CallOptions): Promise<void> {
    const held = this.#hold;
    if (held !== undefined) {
      let onAbort = (): void => {};
      const aborted = new Promise<void>((resolve) => {
        onAbort = resolve;
        signal?.addEventListener('abort', onAbort);
      });
      await Promise.race([held, aborted]);
      signal?.removeEventListener('abort', onAbort);
    }
    if (signal?.aborted) throw new KdiError(KdiErrorCode.aborted, 'given up');
    if (error !== undefined) throw new KdiError(error, `scripted ${error}`);
  }

  #deliver(reference: QkdKeyReference, seed: string): DeliveredKey {
    const secret = keyOf(reference, seed);
    this.handedOut.push(secret);
    return {
      reference,
      secret,
      metadata: { kme: this.kme, hops: 0 },
      ...(this.ttlMs === undefined ? {} : { expiresAtMs: this.#clock.now() + this.ttlMs }),
    };
  }
}
