/** The client of a key provider over SKIP (draft-cisco-skip-02). System IDs are used as SAE IDs. */
import { DecodeError, fromHex, hexOf, SecretBytes } from '../../tls-ext/bytes/index.ts';
import { type Clock, systemClock } from '../clock.ts';
import { isKdiError, KdiError, KdiErrorCode } from '../errors.ts';
import { type HttpReply, KmeHttp } from '../http/kme-http.ts';
import {
  type CallOptions,
  type DeliveredKey,
  type DrawStream,
  KEY_BYTES,
  type KeySource,
  type KmeStatus,
  type LookupStream,
  type QkdKeyReference,
} from '../key-source.ts';
import type { KmeTls, PskTls } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import {
  matchesSystemId,
  parseSkipCapabilities,
  parseSkipEntropy,
  parseSkipKey,
  type SkipCapabilities,
  type SkipEntropy,
} from '../wire/index.ts';

export interface SkipSourceOptions {
  readonly address: KmeAddress;
  /** Certificates, or a pre-shared key. */
  readonly tls: KmeTls | PskTls;
  /** Our own system ID. */
  readonly saeId: string;
  /** Quirk: the provider knows its key IDs in upper case only. Look for: 400 for a keyId that it just gave in upper case. */
  readonly upperCaseKeyIds?: boolean;
  readonly connectTimeoutMs?: number;
  readonly callTimeoutMs?: number;
  readonly maxBodyBytes?: number;
  readonly clock?: Clock;
}

/** The draft has no field for it; a simulator says so in the name of its algorithm, as ours does. */
const SIMULATED = /^simulat/i;
/** Requests that one draw makes at most: SKIP gives one key each. */
const MAX_KEYS_PER_DRAW = 32;
/** How many of them are under way at a time: the provider answers one while another is read. */
const MAX_REQUESTS_AT_ONCE = 4;

export class SkipSource implements KeySource {
  readonly api = 'skip';
  readonly needsStream = false;
  readonly kme: string;
  readonly #options: SkipSourceOptions;
  readonly #http: KmeHttp;
  #simulated: boolean | undefined;

  constructor(options: SkipSourceOptions) {
    const { address, tls, connectTimeoutMs, callTimeoutMs, maxBodyBytes } = options;
    this.#options = options;
    this.kme = address.name;
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
    this.#expectPeer(await this.capabilities(options), peerSaeId);
    let closed = false;
    let atOnce = MAX_REQUESTS_AT_ONCE;
    return {
      get ended() {
        return closed;
      },
      draw: async (count, callOptions = {}) => {
        if (closed) throw new KdiError(KdiErrorCode.stream, `drawing from ${this.kme} was ended`);
        const wanted = Math.max(1, Math.min(count, MAX_KEYS_PER_DRAW));
        const { keys, failure } = await this.#draw(peerSaeId, wanted, atOnce, callOptions);
        // It may be that it does not take several at a time; having no key left is no sign of it.
        if (failure !== undefined && !isKdiError(failure, KdiErrorCode.insufficientKey)) atOnce = 1;
        return keys;
      },
      close: async () => {
        closed = true;
      },
    };
  }

  async openLookup(drawerSaeId: string, options: CallOptions = {}): Promise<LookupStream> {
    // For what its keys are made by; a provider that does not say it may give keys all the same.
    if (this.#simulated === undefined) await this.capabilities(options).catch(() => {});
    return {
      lookup: async (reference, options = {}) => {
        if (reference.api !== 'skip' || reference.drawer !== drawerSaeId) {
          throw new KdiError(KdiErrorCode.stream, 'the reference belongs to another drawer or API');
        }
        const hex = hexOf(reference.keyId);
        const keyId = this.#options.upperCaseKeyIds ? hex.toUpperCase() : hex;
        const path = `/key/${keyId}?remoteSystemID=${encodeURIComponent(drawerSaeId)}`;
        const key = await this.#key(path, drawerSaeId, 'key-by-id', options);
        if (hexOf(keyIdOf(key.reference)) !== hex) {
          key.secret.wipe();
          throw new KdiError(KdiErrorCode.malformed, `${this.kme} answered with another keyId than was asked for`);
        }
        return key;
      },
      close: async () => {},
    };
  }

  async status(peerSaeId: string, options: CallOptions = {}): Promise<KmeStatus> {
    const capabilities = await this.capabilities(options);
    this.#expectPeer(capabilities, peerSaeId);
    const { entropy, localSystemID } = capabilities;
    return { entropy, sourceKmeId: localSystemID };
  }

  async capabilities(options: CallOptions = {}): Promise<SkipCapabilities> {
    const reply = await this.#get('/capabilities', options);
    if (reply.status !== 200) throw this.#replyError(reply, 'capabilities');
    const capabilities = this.#parse(() => parseSkipCapabilities(reply.json));
    this.#simulated = SIMULATED.test(capabilities.algorithm);
    return capabilities;
  }

  /** Randomness of the provider's own source; `minEntropyBits` at least. The caller owns and wipes it. */
  async entropy(
    minEntropyBits: number,
    options: CallOptions = {},
  ): Promise<{ secret: SecretBytes; minEntropyBits: number }> {
    const reply = await this.#get(`/entropy?minentropy=${minEntropyBits}`, options);
    if (reply.status !== 200) throw this.#replyError(reply, 'entropy');
    const { randomStr, minentropy }: SkipEntropy = this.#parse(() => parseSkipEntropy(reply.json));
    if (minentropy < minEntropyBits) {
      throw new KdiError(
        KdiErrorCode.insufficientKey,
        `${this.kme} offers ${minentropy} bits of entropy, ${minEntropyBits} were asked for`,
      );
    }
    return { secret: new SecretBytes(fromHex(randomStr)), minEntropyBits: minentropy };
  }

  async close(): Promise<void> {
    await this.#http.close();
  }

  /**
   * `atOnce` requests at a time, each on a connection of its own, until one fails. What was drawn until then is good, and
   * is handed over with the failure: the next draw meets the same again. Only a repeated ID casts doubt on the rest.
   */
  async #draw(
    peerSaeId: string,
    count: number,
    atOnce: number,
    options: CallOptions,
  ): Promise<{ readonly keys: DeliveredKey[]; readonly failure: unknown }> {
    const path = `/key?remoteSystemID=${encodeURIComponent(peerSaeId)}&size=${8 * KEY_BYTES}`;
    const keys: DeliveredKey[] = [];
    const seen = new Set<string>();
    let toAsk = count;
    let failure: unknown;
    const askOneByOne = async (): Promise<void> => {
      while (toAsk > 0 && failure === undefined) {
        toAsk--;
        try {
          const key = await this.#key(path, this.#options.saeId, 'key', options);
          keys.push(key);
          const id = hexOf(keyIdOf(key.reference));
          if (seen.size === seen.add(id).size) {
            throw new KdiError(KdiErrorCode.duplicateKey, `${this.kme} gave keyId ${id} twice`);
          }
        } catch (error) {
          if (failure === undefined || isKdiError(error, KdiErrorCode.duplicateKey)) failure = error;
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(count, atOnce) }, askOneByOne));
    const spoilt =
      failure !== undefined &&
      (options.signal?.aborted || !isKdiError(failure) || failure.code === KdiErrorCode.duplicateKey);
    if (keys.length > 0 && !spoilt) return { keys, failure };
    for (const { secret } of keys) secret.wipe();
    throw failure;
  }

  async #key(path: string, drawer: string, call: SkipCall, options: CallOptions): Promise<DeliveredKey> {
    const reply = await this.#get(path, options);
    if (reply.status !== 200) throw this.#replyError(reply, call);
    const { keyId, key } = this.#parse(() => parseSkipKey(reply.json));
    const secret = new SecretBytes(fromHex(key));
    if (secret.length !== KEY_BYTES) {
      const { length } = secret;
      secret.wipe();
      throw new KdiError(KdiErrorCode.malformed, `${this.kme} gave a key of ${length} bytes instead of ${KEY_BYTES}`);
    }
    const metadata = { kme: this.kme, ...(this.#simulated ? { simulated: true } : {}) };
    return { reference: { api: 'skip', drawer, keyId: fromHex(keyId) }, secret, metadata };
  }

  #get(path: string, { signal }: CallOptions): Promise<HttpReply> {
    return this.#http.call({ method: 'GET', path, ...(signal === undefined ? {} : { signal }) });
  }

  #expectPeer(capabilities: SkipCapabilities, peerSaeId: string): void {
    if (!capabilities.key) throw new KdiError(KdiErrorCode.unsupported, `${this.kme} gives no keys, only entropy`);
    if (!matchesSystemId(capabilities.remoteSystemID, peerSaeId)) {
      throw new KdiError(
        KdiErrorCode.noQkdConnection,
        `${this.kme} has no connection to '${peerSaeId}'; it knows ${capabilities.remoteSystemID.slice(0, 8).join(', ') || 'nobody'}`,
      );
    }
  }

  #replyError({ status: httpStatus }: HttpReply, call: SkipCall): KdiError {
    const error = (code: KdiErrorCode, meaning: string, retryable?: boolean): KdiError =>
      new KdiError(code, `${this.kme} answered ${call} with ${httpStatus}: ${meaning}`, {
        httpStatus,
        ...(retryable === undefined ? {} : { retryable }),
      });
    switch (httpStatus) {
      case 400:
        return call === 'key-by-id'
          ? error(KdiErrorCode.keyNotFound, 'malformed or not found')
          : error(KdiErrorCode.badRequest, 'malformed or not found; is the remote system ID right?');
      case 401:
      case 403:
        return error(KdiErrorCode.unauthorized, 'our certificate or key is not admitted');
      case 404:
        return error(KdiErrorCode.unsupported, 'no such path; is this a SKIP provider, and the path prefix right?');
      case 405:
        return error(KdiErrorCode.unsupported, 'GET is not allowed, which is all that SKIP has');
      case 503:
        return error(KdiErrorCode.insufficientKey, 'none available');
      default:
        return error(KdiErrorCode.http, 'a status that SKIP does not know', httpStatus >= 500);
    }
  }

  #parse<T>(parse: () => T): T {
    try {
      return parse();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw new KdiError(KdiErrorCode.malformed, `${this.kme}: ${error.message}`, { cause: error });
    }
  }
}

type SkipCall = 'capabilities' | 'key' | 'key-by-id' | 'entropy';

function keyIdOf(reference: QkdKeyReference): Uint8Array {
  return reference.api === 'etsi004' ? reference.ksid : reference.keyId;
}
