/** Look-ups of one drawer's keys, gathered into few dec_keys requests. */
import { setMaxListeners } from 'node:events';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import type { Cancel, Clock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import type { CallOptions, DeliveredKey, LookupStream, QkdKeyReference } from '../key-source.ts';

export interface Etsi014LookupOptions {
  readonly drawer: string;
  readonly clock: Clock;
  readonly minKeyAgeMs: number;
  readonly maxKeysPerRequest: number;
  readonly decKeys: (keyIds: readonly Uint8Array[], options: CallOptions) => Promise<DeliveredKey[]>;
}

interface Wanted {
  readonly keyId: Uint8Array;
  resolve(key: DeliveredKey): void;
  reject(error: unknown): void;
}

export class Etsi014LookupStream implements LookupStream {
  readonly #options: Etsi014LookupOptions;
  readonly #abort = new AbortController();
  #gathered: Wanted[] = [];
  /** Learned: a KME may take fewer IDs at once than it lets the other side draw. */
  #maxKeysPerRequest: number;
  #cancelFlush: Cancel | undefined;

  constructor(options: Etsi014LookupOptions) {
    this.#options = options;
    this.#maxKeysPerRequest = options.maxKeysPerRequest;
    // One for each request under way.
    setMaxListeners(0, this.#abort.signal);
  }

  lookup(reference: QkdKeyReference, { signal }: CallOptions = {}): Promise<DeliveredKey> {
    if (reference.api !== 'etsi014' || reference.drawer !== this.#options.drawer || reference.keyId.length !== 16) {
      return Promise.reject(new KdiError(KdiErrorCode.stream, 'the reference belongs to another drawer or API'));
    }
    if (this.#abort.signal.aborted || signal?.aborted) return Promise.reject(aborted());
    const { keyId } = reference;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => wanted.reject(aborted());
      let settled = false;
      const settle = (): boolean => {
        signal?.removeEventListener('abort', onAbort);
        if (settled) return false;
        settled = true;
        return true;
      };
      const wanted: Wanted = {
        keyId,
        resolve: (key) => {
          if (settle()) resolve({ ...key, reference });
          else key.secret.wipe();
        },
        reject: (error) => {
          if (settle()) reject(error);
        },
      };
      signal?.addEventListener('abort', onAbort);
      this.#gathered.push(wanted);
      // One turn of the loop, or as long as a key takes to reach this KME, gathers what is announced together.
      this.#cancelFlush ??= this.#options.clock.schedule(() => this.#flush(), this.#options.minKeyAgeMs);
    });
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.#cancelFlush?.();
    this.#cancelFlush = undefined;
    for (const wanted of this.#gathered.splice(0)) wanted.reject(aborted());
  }

  #flush(): void {
    this.#cancelFlush = undefined;
    const maxKeysPerRequest = this.#maxKeysPerRequest;
    const all = this.#gathered.splice(0);
    for (let at = 0; at < all.length; at += maxKeysPerRequest) void this.#fetch(all.slice(at, at + maxKeysPerRequest));
  }

  async #fetch(batch: readonly Wanted[]): Promise<void> {
    let keys: DeliveredKey[];
    try {
      keys = await this.#options.decKeys(
        batch.map(({ keyId }) => keyId),
        { signal: this.#abort.signal },
      );
    } catch (error) {
      // One unknown key, or one too many, fails the whole request: halve it until that one stands alone.
      const isTooMany = isKdiError(error) && (error.httpStatus === 400 || error.httpStatus === 413);
      if (batch.length > 1 && (isTooMany || isKdiError(error, KdiErrorCode.keyNotFound))) {
        const half = Math.ceil(batch.length / 2);
        if (!isKdiError(error, KdiErrorCode.keyNotFound)) {
          this.#maxKeysPerRequest = Math.min(this.#maxKeysPerRequest, half);
        }
        await Promise.all([this.#fetch(batch.slice(0, half)), this.#fetch(batch.slice(half))]);
        return;
      }
      for (const wanted of batch) wanted.reject(error);
      return;
    }
    const byId = new Map(keys.map((key) => [key.reference.api === 'etsi014' ? hexOf(key.reference.keyId) : '', key]));
    for (const wanted of batch) {
      const id = hexOf(wanted.keyId);
      const key = byId.get(id);
      byId.delete(id);
      if (key === undefined)
        wanted.reject(new KdiError(KdiErrorCode.keyNotFound, 'the KME left a key out of its reply'));
      else wanted.resolve(key);
    }
  }
}

function aborted(): KdiError {
  return new KdiError(KdiErrorCode.aborted, 'the look-up was given up');
}
