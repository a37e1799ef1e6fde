/** The client of a key manager over ETSI GS QKD 014 V1.1.1. Its quirks are named options: see docs/kdi-client.md. */
import { DecodeError, hexOf, SecretBytes } from '../../tls-ext/bytes/index.ts';
import { type Clock, systemClock } from '../clock.ts';
import { KdiError, KdiErrorCode } from '../errors.ts';
import { KmeHttp, SMALL_REPLY_BODY_BYTES } from '../http/kme-http.ts';
import {
  type CallOptions,
  type DeliveredKey,
  type DrawStream,
  KEY_BYTES,
  type KeyMetadata,
  type KeySource,
  type KmeStatus,
  type LookupStream,
} from '../key-source.ts';
import type { KmeTls } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import {
  bytesOfUuid,
  type Etsi014Key,
  type Etsi014KeyContainer,
  type Etsi014KeyRequest,
  type Etsi014Status,
  MAX_KEYS_PER_CONTAINER,
  parseEtsi014KeyContainer,
  parseEtsi014Status,
  uuidOfBytes,
} from '../wire/index.ts';
import { isU32, type JsonObject } from '../wire/json-fields.ts';
import { replyError } from './errors.ts';
import { Etsi014LookupStream } from './lookup-stream.ts';

/** What deployed servers do otherwise than the standard. */
export interface Etsi014Quirks {
  /** `size` and the sizes of Status are in bytes. Look for: keys of 256 bytes for `size=256`, or a `key_size` of 32. */
  readonly keySizeInBytes?: boolean;
  /** A second enc_keys drops keys of the first that the slave has not fetched. Look for: not-found for all but the last batch. */
  readonly oneBatchAtATime?: boolean;
  /** HTTP statuses, besides 400 with the standard's message, that mean an unknown key_ID. Look for: 404 or 500 from dec_keys. */
  readonly unknownKeyStatuses?: readonly number[];
  /** A key reaches the other KME this much later. Look for: not-found at first, success on retry. */
  readonly minKeyAgeMs?: number;
  /** The server has only the GET forms. Look for: 405 to POST. */
  readonly getOnly?: boolean;
}

export interface Etsi014SourceOptions {
  readonly address: KmeAddress;
  readonly tls: KmeTls;
  /** Our own SAE ID, as the drawer in references. */
  readonly saeId: string;
  readonly quirks?: Etsi014Quirks;
  /** Keys per enc_keys or dec_keys; never above the KME's own limit (default 128). */
  readonly maxKeysPerRequest?: number;
  readonly additionalSlaveSaeIds?: readonly string[];
  readonly extensionMandatory?: readonly JsonObject[];
  readonly extensionOptional?: readonly JsonObject[];
  readonly connectTimeoutMs?: number;
  readonly callTimeoutMs?: number;
  readonly maxBodyBytes?: number;
  readonly clock?: Clock;
}

export class Etsi014Source implements KeySource {
  readonly api = 'etsi014';
  readonly needsStream = false;
  readonly kme: string;
  readonly oneBatchAtATime: boolean;
  readonly #options: Etsi014SourceOptions;
  readonly #http: KmeHttp;

  /** Throws `ERR_KDI_CONFIG`. Nothing is sent before the first call. */
  constructor(options: Etsi014SourceOptions) {
    const { address, tls, connectTimeoutMs, callTimeoutMs, maxBodyBytes, maxKeysPerRequest = 1 } = options;
    if (!Number.isInteger(maxKeysPerRequest) || maxKeysPerRequest < 1 || maxKeysPerRequest > MAX_KEYS_PER_CONTAINER) {
      throw new KdiError(KdiErrorCode.config, `keys per request must be 1 to ${MAX_KEYS_PER_CONTAINER}`);
    }
    const { additionalSlaveSaeIds = [], extensionMandatory = [], extensionOptional = [] } = options;
    if (options.quirks?.getOnly && [additionalSlaveSaeIds, extensionMandatory, extensionOptional].some(hasAny)) {
      throw new KdiError(
        KdiErrorCode.config,
        'a KME that takes GET only takes no additional SAE IDs and no extensions',
      );
    }
    this.#options = options;
    this.kme = address.name;
    this.oneBatchAtATime = options.quirks?.oneBatchAtATime ?? false;
    this.#http = new KmeHttp({
      address,
      tls,
      clock: options.clock ?? systemClock,
      ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
      ...(callTimeoutMs === undefined ? {} : { callTimeoutMs }),
      ...(maxBodyBytes === undefined ? {} : { maxBodyBytes }),
    });
  }

  async openDraw(peerSaeId: string, options: CallOptions = {}): Promise<DrawStream> {
    const status = await this.etsi014Status(peerSaeId, options);
    this.#expectKeySize(status);
    this.#expectMulticast(status);
    const perRequest = Math.min(this.#options.maxKeysPerRequest ?? 128, Math.max(1, status.max_key_per_request));
    let closed = false;
    return {
      get ended() {
        return closed;
      },
      draw: async (count, callOptions = {}) => {
        if (closed) throw new KdiError(KdiErrorCode.stream, `drawing from KME ${this.kme} was ended`);
        return this.#encKeys(peerSaeId, Math.max(1, Math.min(count, perRequest)), callOptions);
      },
      close: async () => {
        closed = true;
      },
    };
  }

  async openLookup(drawerSaeId: string): Promise<LookupStream> {
    return new Etsi014LookupStream({
      drawer: drawerSaeId,
      clock: this.#options.clock ?? systemClock,
      minKeyAgeMs: this.#options.quirks?.minKeyAgeMs ?? 0,
      maxKeysPerRequest: this.#options.quirks?.getOnly ? 1 : (this.#options.maxKeysPerRequest ?? 128),
      decKeys: (keyIds, options) => this.#decKeys(drawerSaeId, keyIds, options),
    });
  }

  async status(peerSaeId: string, options: CallOptions = {}): Promise<KmeStatus> {
    const status = await this.etsi014Status(peerSaeId, options);
    return {
      storedKeyCount: status.stored_key_count,
      maxKeyCount: status.max_key_count,
      maxKeysPerRequest: status.max_key_per_request,
      keySizeBits: status.key_size * this.#bitsPerUnit(),
      sourceKmeId: status.source_KME_ID,
      targetKmeId: status.target_KME_ID,
    };
  }

  /** Status as the KME sent it: sizes in its own unit. */
  async etsi014Status(slaveSaeId: string, { signal }: CallOptions = {}): Promise<Etsi014Status> {
    const path = `/api/v1/keys/${encodeURIComponent(slaveSaeId)}/status`;
    const reply = await this.#http.call({ method: 'GET', path, ...(signal === undefined ? {} : { signal }) });
    if (reply.status !== 200) throw replyError(reply, 'status', this.kme, this.#options.quirks);
    return this.#parse(() => parseEtsi014Status(reply.json));
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  async #encKeys(slaveSaeId: string, number: number, { signal }: CallOptions): Promise<DeliveredKey[]> {
    const { additionalSlaveSaeIds, extensionMandatory, extensionOptional, quirks = {}, saeId } = this.#options;
    const size = (8 * KEY_BYTES) / this.#bitsPerUnit();
    const request: Etsi014KeyRequest = {
      number,
      size,
      ...(additionalSlaveSaeIds === undefined ? {} : { additional_slave_SAE_IDs: additionalSlaveSaeIds }),
      ...(extensionMandatory === undefined ? {} : { extension_mandatory: extensionMandatory }),
      ...(extensionOptional === undefined ? {} : { extension_optional: extensionOptional }),
    };
    const path = `/api/v1/keys/${encodeURIComponent(slaveSaeId)}/enc_keys`;
    const reply = await this.#http.call({
      ...(quirks.getOnly
        ? { method: 'GET', path: `${path}?number=${number}&size=${size}` }
        : { method: 'POST', path, body: request }),
      maxReplyBytes: containerBytes(number),
      ...(signal === undefined ? {} : { signal }),
    });
    if (reply.status !== 200) throw replyError(reply, 'enc_keys', this.kme, quirks);
    const container = this.#parse(() => parseEtsi014KeyContainer(reply.json));
    if (container.keys.length === 0) throw new KdiError(KdiErrorCode.insufficientKey, `KME ${this.kme} gave no key`);
    if (container.keys.length > number) {
      throw new KdiError(
        KdiErrorCode.malformed,
        `KME ${this.kme} gave ${container.keys.length} keys instead of ${number}`,
      );
    }
    return this.#keysOf(container, saeId);
  }

  async #decKeys(masterSaeId: string, keyIds: readonly Uint8Array[], { signal }: CallOptions): Promise<DeliveredKey[]> {
    const { quirks = {} } = this.#options;
    const ids = keyIds.map(uuidOfBytes);
    const path = `/api/v1/keys/${encodeURIComponent(masterSaeId)}/dec_keys`;
    const reply = await this.#http.call({
      ...(quirks.getOnly
        ? { method: 'GET', path: `${path}?key_ID=${ids[0]}` }
        : { method: 'POST', path, body: { key_IDs: ids.map((id) => ({ key_ID: id })) } }),
      maxReplyBytes: containerBytes(ids.length),
      ...(signal === undefined ? {} : { signal }),
    });
    if (reply.status !== 200) throw replyError(reply, 'dec_keys', this.kme, quirks);
    const keys = this.#keysOf(
      this.#parse(() => parseEtsi014KeyContainer(reply.json)),
      masterSaeId,
    );
    const asked = new Set(keyIds.map(hexOf));
    const stray = keys.some(({ reference }) => reference.api !== 'etsi014' || !asked.has(hexOf(reference.keyId)));
    if (stray) {
      for (const { secret } of keys) secret.wipe();
      throw new KdiError(KdiErrorCode.malformed, `KME ${this.kme} answered dec_keys with a key that was not asked for`);
    }
    return keys;
  }

  #keysOf(container: Etsi014KeyContainer, drawer: string): DeliveredKey[] {
    const seen = new Set<string>();
    const keys: DeliveredKey[] = [];
    // One array for all secrets of a container: an array of its own costs a key five times its length.
    const secrets = new Uint8Array(container.keys.length * KEY_BYTES);
    try {
      for (const entry of container.keys) {
        const keyId = bytesOfUuid(entry.key_ID);
        if (seen.size === seen.add(hexOf(keyId)).size) {
          throw new KdiError(
            KdiErrorCode.duplicateKey,
            `KME ${this.kme} gave key_ID ${entry.key_ID} twice in one reply`,
          );
        }
        keys.push({
          reference: { api: 'etsi014', drawer, keyId },
          secret: this.#secretOf(entry, secrets.subarray(keys.length * KEY_BYTES, (keys.length + 1) * KEY_BYTES)),
          metadata: this.#metadataOf(container, entry),
        });
      }
    } catch (error) {
      for (const { secret } of keys) secret.wipe();
      throw error;
    }
    return keys;
  }

  /** The key, in `place`. */
  #secretOf(entry: Etsi014Key, place: Uint8Array): SecretBytes {
    // Buffer.from takes small arrays from a pool that is shared: out of there.
    const decoded = Buffer.from(entry.key, 'base64');
    const { length } = decoded;
    if (length === KEY_BYTES) place.set(decoded);
    decoded.fill(0);
    if (length === KEY_BYTES) return new SecretBytes(place);
    const hint =
      length === 8 * KEY_BYTES
        ? '; it seems to count key sizes in bytes: set key-size-in-bytes'
        : length * 8 === KEY_BYTES
          ? '; it seems to count key sizes in bits: unset key-size-in-bytes'
          : '';
    throw new KdiError(
      KdiErrorCode.malformed,
      `KME ${this.kme} gave a key of ${length} bytes instead of ${KEY_BYTES}${hint}`,
    );
  }

  /** `age`, `hops` and `simulated` have no field of their own in 014; extensions may carry them, as our simulator's do. */
  #metadataOf(container: Etsi014KeyContainer, entry: Etsi014Key): KeyMetadata {
    const { age, hops, simulated } = { ...container.key_container_extension, ...entry.key_extension } as Record<
      string,
      unknown
    >;
    return {
      kme: this.kme,
      ...(isU32(age) ? { ageMs: age } : {}),
      ...(isU32(hops) ? { hops } : {}),
      ...(typeof simulated === 'boolean' ? { simulated } : {}),
    };
  }

  #expectKeySize(status: Etsi014Status): void {
    const unit = this.#bitsPerUnit();
    const [min, max] = [status.min_key_size * unit, status.max_key_size * unit];
    if (min <= 8 * KEY_BYTES && 8 * KEY_BYTES <= max) return;
    const hint = unit === 1 && max === KEY_BYTES ? '; if it counts bytes, set key-size-in-bytes' : '';
    throw new KdiError(
      KdiErrorCode.unsupported,
      `KME ${this.kme} gives keys of ${min} to ${max} bits; ${8 * KEY_BYTES} are needed${hint}`,
    );
  }

  #expectMulticast({ max_SAE_ID_count: most }: Etsi014Status): void {
    const count = this.#options.additionalSlaveSaeIds?.length ?? 0;
    if (count <= most) return;
    throw new KdiError(
      KdiErrorCode.unsupported,
      `KME ${this.kme} takes ${most === 0 ? 'no' : `at most ${most}`} additional slave SAE IDs; ${count} are configured`,
    );
  }

  #bitsPerUnit(): number {
    return this.#options.quirks?.keySizeInBytes ? 8 : 1;
  }

  #parse<T>(parse: () => T): T {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw new KdiError(KdiErrorCode.malformed, `KME ${this.kme}: ${error.message}`, { cause: error });
    }
  }
}

/** Longest container of that many keys, extensions included. */
function containerBytes(keys: number): number {
  return SMALL_REPLY_BODY_BYTES + keys * 2_048;
}

function hasAny(list: readonly unknown[]): boolean {
  return list.length > 0;
}
