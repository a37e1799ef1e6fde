import { createHash } from 'node:crypto';
import {
  type CallOptions,
  type DrawStream,
  KdiErrorCode as E,
  KdiError,
  type KdiErrorCode,
  type KeySource,
  type LookupStream,
  type QkdKeyReference,
} from '../../../kdi-client/index.ts';
import { hexOf, SecretBytes } from '../../../tls-ext/bytes/index.ts';

const KEYS_PER_CHUNK = 2;
const QOS = {
  keyChunkSizeBytes: 32 * KEYS_PER_CHUNK,
  maxBps: 0,
  minBps: 0,
  jitterBps: 0,
  priority: 0,
  timeoutMs: 100,
  ttlSeconds: 0,
  metadataMimetype: '',
};

/** A process that uses a key manager: nothing that it does counts once it is dead. */
export interface Life {
  alive: boolean;
  /** Secrets that it was given, to see them wiped at its end. */
  readonly secrets: SecretBytes[];
}

/** What one of the two key managers does wrongly at present. */
export interface Fault {
  readonly error?: KdiErrorCode;
  /** Whether a failed draw ends its stream. */
  readonly endsStream?: boolean;
}

/** The two 004 key managers of a link, in memory. Their processes come and go; so may their own memory. */
export class MemoryKmes {
  readonly fault: { a: Fault; b: Fault } = { a: {}, b: {} };
  /** The answerer's gives other bits. */
  disagree = false;
  #epoch = 0;
  #ksids = 0;
  /** Open streams: next index at the drawer's; what was given already at the answerer's. */
  readonly #openA = new Map<string, number>();
  readonly #openB = new Map<string, Set<string>>();
  readonly #bits = new Map<string, string>();

  /** All memory of one is lost; `reuse`: the drawer's hands out Key_stream_IDs from the beginning again. */
  forget(side: 'a' | 'b', reuse: boolean): void {
    if (side === 'b') {
      this.#openB.clear();
      return;
    }
    this.#epoch++;
    this.#openA.clear();
    if (reuse) this.#ksids = 0;
  }

  get streamsOpen(): number {
    return this.#openA.size + this.#openB.size;
  }

  source(side: 'a' | 'b', life: Life): KeySource {
    const had = new Set<string>();
    const call = async <T>(options: CallOptions | undefined, act: () => T): Promise<T> => {
      await Promise.resolve();
      if (!life.alive) return new Promise<never>(() => {});
      if (options?.signal?.aborted) throw new KdiError(E.aborted, 'given up');
      const { error } = this.fault[side];
      if (error !== undefined) throw new KdiError(error, `scripted ${error}`);
      return act();
    };
    return {
      api: 'etsi004',
      kme: `kme-${side}:1`,
      needsStream: true,
      status: () => Promise.reject(new KdiError(E.unsupported, 'no status')),
      close: async () => {},
      openDraw: async (_peer, options = {}) => {
        const ksid = await call(options, () => this.#openStream(had));
        const announcement = { ksid, qos: QOS };
        options.onAnnouncement?.(announcement);
        return this.#drawStream(ksid, life, call);
      },
      openLookup: async (_drawer, options = {}): Promise<LookupStream> => {
        const ksid = options.announcement?.ksid as Uint8Array;
        const id = hexOf(ksid);
        await call(options, () => {
          if (!this.#openB.has(id)) this.#openB.set(id, new Set());
        });
        return {
          announcement: { ksid, qos: QOS },
          lookup: (reference, lookupOptions) =>
            call(lookupOptions, () => this.#lookup(reference as Reference004, life)),
          close: async () => {
            if (life.alive) this.#openB.delete(id);
          },
        };
      },
    };
  }

  /** A client never opens a stream that it had before; another process may be given the same one. */
  #openStream(had: Set<string>): Uint8Array {
    for (;;) {
      const ksid = new Uint8Array(16).fill(0x40);
      new DataView(ksid.buffer).setUint32(0, ++this.#ksids);
      const id = hexOf(ksid);
      if (had.has(id) || this.#openA.has(id)) continue;
      had.add(id);
      this.#openA.set(id, 0);
      return ksid;
    }
  }

  #drawStream(
    ksid: Uint8Array,
    life: Life,
    call: <T>(options: CallOptions | undefined, act: () => T) => Promise<T>,
  ): DrawStream {
    const id = hexOf(ksid);
    let ended = false;
    const draw = () => {
      const index = this.#openA.get(id);
      if (index === undefined) {
        ended = true;
        throw new KdiError(E.noQkdConnection, 'no such stream');
      }
      if (!this.#openB.has(id)) throw new KdiError(E.peerNotConnected, 'the peer has not opened it');
      this.#openA.set(id, index + 1);
      return Array.from({ length: KEYS_PER_CHUNK }, (_, slice) => {
        const reference = { api: 'etsi004', drawer: 'siteA', ksid, index, slice } as const;
        const bits = createHash('sha256')
          .update(`${this.#epoch} ${nameOf(reference)}`)
          .digest('hex');
        this.#bits.set(nameOf(reference), bits);
        return deliver(reference, bits, 'kme-a:1', life);
      });
    };
    const faultNow = () => this.fault.a;
    return {
      announcement: { ksid, qos: QOS },
      get ended() {
        return ended;
      },
      draw: async (_count, options) => {
        try {
          return await call(options, draw);
        } catch (error) {
          ended ||= faultNow().endsStream === true;
          throw error;
        }
      },
      close: async () => {
        ended = true;
        if (life.alive) this.#openA.delete(id);
      },
    };
  }

  #lookup(reference: Reference004, life: Life) {
    const name = nameOf(reference);
    const given = this.#openB.get(hexOf(reference.ksid));
    if (given === undefined) throw new KdiError(E.noQkdConnection, 'no such stream');
    const bits = this.#bits.get(name);
    if (bits === undefined || given.has(name)) throw new KdiError(E.keyNotFound, 'gone', { retryable: false });
    given.add(name);
    return deliver(reference, this.disagree ? `ff${bits.slice(2)}` : bits, 'kme-b:1', life);
  }
}

type Reference004 = Extract<QkdKeyReference, { api: 'etsi004' }>;

function nameOf({ ksid, index, slice }: Reference004): string {
  return `${hexOf(ksid)}/${index}/${slice}`;
}

function deliver(reference: Reference004, bits: string, kme: string, life: Life) {
  const secret = new SecretBytes(Uint8Array.from(Buffer.from(bits, 'hex')));
  life.secrets.push(secret);
  return { reference, secret, metadata: { kme, hops: 0 } };
}
