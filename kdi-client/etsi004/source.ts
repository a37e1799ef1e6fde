/**
 * The client of a key manager over ETSI GS QKD 004 V2.1.1. It opens streams,
 * as drawer or as answerer; what happens on a stream is in `streams.ts`.
 */
import { randomBytes } from 'node:crypto';
import { hexOf, utf8 } from '../../tls-ext/bytes/index.ts';
import { type Clock, systemClock } from '../clock.ts';
import { KdiError, KdiErrorCode, KdiMisuseError } from '../errors.ts';
import type {
  CallOptions,
  DrawStream,
  KeySource,
  KmeStatus,
  LookupStream,
  OpenDrawOptions,
  OpenLookupOptions,
} from '../key-source.ts';
import type { KmeTls } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import {
  type Etsi004OpenConnectRequest,
  type Etsi004OpenConnectResponse,
  type Etsi004Qos,
  Etsi004Status,
  isNullKsid,
  KSID_BYTES,
  MAX_URI_BYTES,
  METADATA_JSON,
} from '../wire/index.ts';
import { type Etsi004QosBounds, type Etsi004QosSettings, expectWithinBounds, requestedQos } from './qos.ts';
import { isSuccess, statusError } from './status.ts';
import { Etsi004DrawStream, Etsi004LookupStream, type OpenedStream } from './streams.ts';
import { Etsi004Transport } from './transport.ts';

export interface Etsi004SourceOptions {
  readonly address: KmeAddress;
  /** Our own SAE ID. */
  readonly saeId: string;
  readonly tls?: KmeTls;
  /** Must be set to do without `tls`: every key is then readable on the wire. */
  readonly unsafePlainTcp?: boolean;
  /** Who makes the KSID: the KME (default), or we, for KMEs whose OPEN_CONNECT blocks until the peer is there. */
  readonly ksid?: 'allocated' | 'chosen';
  /** Whether the answerer opens with the drawer's Source and Destination as they were (default), or swapped. */
  readonly openAs?: 'same' | 'swapped';
  /** How a bare SAE ID becomes a URI; `{sae}` stands for it. Default `qkd://{sae}`. IDs with a scheme stay as they are. */
  readonly uriTemplate?: string;
  readonly qos?: Etsi004QosSettings;
  readonly qosBounds?: Etsi004QosBounds;
  readonly connectTimeoutMs?: number;
  /** What a reply may take beyond the Timeout of the stream's QoS (default 2 s). */
  readonly replyGraceMs?: number;
  readonly maxReplyBytes?: number;
  /** Dialect `qubip`: how long an idle connection is kept for the next request (default 5 s; 0: a new one each time). */
  readonly keepConnectionMs?: number;
  readonly clock?: Clock;
  readonly random?: (lengthBytes: number) => Uint8Array;
}

/**
 * A Timeout that a KME grants, or a peer announces, is waited for no longer than this, or than what we asked for
 * ourselves: some grant all that a u32 holds, and may hang all the same.
 */
const MAX_FOREIGN_TIMEOUT_MS = 30_000;

/** KSIDs remembered so that a KME can't hand one out twice to this process. */
const MAX_KNOWN_KSIDS = 4096;

type Ends = Pick<Etsi004OpenConnectRequest, 'source' | 'destination'>;

export class Etsi004Source implements KeySource {
  readonly api = 'etsi004';
  readonly needsStream = true;
  readonly kme: string;
  readonly #options: Etsi004SourceOptions;
  readonly #transport: Etsi004Transport;
  readonly #clock: Clock;
  readonly #qos: Etsi004Qos;
  readonly #replyGraceMs: number;
  readonly #streams = new Set<Etsi004DrawStream | Etsi004LookupStream>();
  readonly #knownKsids = new Set<string>();

  /** Throws `ERR_KDI_CONFIG`. Nothing is sent before the first call. */
  constructor(options: Etsi004SourceOptions) {
    if (options.tls === undefined && options.unsafePlainTcp !== true) {
      throw new KdiError(KdiErrorCode.config, `KME ${options.address.name} needs a certificate, a key and a CA`);
    }
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#qos = requestedQos(options.qos ?? {});
    this.#replyGraceMs = options.replyGraceMs ?? 2_000;
    this.kme = options.address.name;
    this.#transport = new Etsi004Transport({
      address: options.address,
      tls: options.tls,
      clock: this.#clock,
      connectTimeoutMs: options.connectTimeoutMs ?? 5_000,
      ...(options.maxReplyBytes === undefined ? {} : { maxReplyBytes: options.maxReplyBytes }),
      ...(options.keepConnectionMs === undefined ? {} : { keepConnectionMs: options.keepConnectionMs }),
    });
  }

  async openDraw(peerSaeId: string, options: OpenDrawOptions = {}): Promise<DrawStream> {
    const ends = { source: this.#uriOf(this.#options.saeId), destination: this.#uriOf(peerSaeId) };
    const opened =
      this.#options.ksid === 'chosen'
        ? await this.#openChosen(ends, options)
        : await this.#openAllocated(ends, options);
    return this.#keep(new Etsi004DrawStream(opened, this.#options.saeId), opened);
  }

  async #openAllocated(ends: Ends, options: OpenDrawOptions): Promise<OpenedStream> {
    let opened = await this.#open({ ...ends, ksid: new Uint8Array(KSID_BYTES), qos: this.#qos }, options);
    if (!(await this.#claim(opened, options))) {
      // Some KMEs give the same KSID for the same pair again: its indices were drawn before. It is not closed, for another
      // stream of ours may be the one that has it.
      opened = await this.#open({ ...ends, ksid: this.#freshKsid(), qos: opened.announcement.qos }, options);
      await this.#claim(opened, options);
    }
    options.onAnnouncement?.(opened.announcement);
    return opened;
  }

  /** Whether nobody drew from this stream before, as far as this process and those that write KSIDs down know. */
  async #claim({ announcement: { ksid } }: OpenedStream, { claimKsid }: OpenDrawOptions): Promise<boolean> {
    const isNew = this.#remember(ksid);
    try {
      return ((await claimKsid?.(ksid)) ?? true) && isNew;
    } catch (error) {
      await this.#closeQuietly(ksid);
      throw error;
    }
  }

  /** The peer hears of the KSID before our KME does; of a second one, with the KME's QoS, after a counter-proposal. */
  async #openChosen(ends: Ends, options: OpenDrawOptions): Promise<OpenedStream> {
    const announce = (qos: Etsi004Qos): Etsi004OpenConnectRequest => {
      const ksid = this.#freshKsid();
      options.onAnnouncement?.({ ksid, qos });
      return { service: 'open-connect', ...ends, ksid, qos };
    };
    const opened = await this.#open(announce(this.#qos), options, (proposal) => announce(proposal));
    await this.#claim(opened, options);
    return opened;
  }

  async openLookup(drawerSaeId: string, options: OpenLookupOptions = {}): Promise<LookupStream> {
    const { announcement } = options;
    if (announcement === undefined) throw new KdiMisuseError('a 004 look-up needs the stream that was announced');
    const drawer = this.#uriOf(drawerSaeId);
    const answerer = this.#uriOf(this.#options.saeId);
    const swapped = this.#options.openAs === 'swapped';
    const request = {
      source: swapped ? answerer : drawer,
      destination: swapped ? drawer : answerer,
      ksid: announcement.ksid,
      qos: announcement.qos,
    };
    const opened = await this.#open(request, options, (proposal, again) => {
      if (proposal.keyChunkSizeBytes === announcement.qos.keyChunkSizeBytes) return again;
      // With chunks of another size an index would mean other key here than at the drawer.
      throw new KdiError(
        KdiErrorCode.qosNotMet,
        `KME ${this.kme} proposes Key_chunk_size ${proposal.keyChunkSizeBytes}; the drawer's stream has ${announcement.qos.keyChunkSizeBytes}`,
      );
    });
    return this.#keep(new Etsi004LookupStream(opened, drawerSaeId), opened);
  }

  status(): Promise<KmeStatus> {
    return Promise.reject(new KdiError(KdiErrorCode.unsupported, 'GS QKD 004 has no status call'));
  }

  /** Tells the KME of each stream that ends; not, or no longer, once `signal` is aborted: streams then end by their TTL. */
  async close({ signal }: CallOptions = {}): Promise<void> {
    const giveUp = () => this.#transport.close();
    signal?.addEventListener('abort', giveUp);
    if (signal?.aborted) giveUp();
    await Promise.all([...this.#streams].map((stream) => stream.close()));
    signal?.removeEventListener('abort', giveUp);
    this.#transport.close();
  }

  /**
   * OPEN_CONNECT. One counter-proposal is taken, if it is within the bounds;
   * `adapt` says what is asked for then, the same request with its QoS by default.
   */
  async #open(
    request: Omit<Etsi004OpenConnectRequest, 'service'>,
    options: CallOptions,
    adapt = (_proposal: Etsi004Qos, again: Etsi004OpenConnectRequest): Etsi004OpenConnectRequest => again,
  ): Promise<OpenedStream> {
    let wanted: Etsi004OpenConnectRequest = { ...request, service: 'open-connect', qos: this.#saneQos(request.qos) };
    let response = await this.#openConnect(wanted, options);
    if (response.status === Etsi004Status.qosNotMet && response.stream !== undefined) {
      const proposal = this.#saneQos(response.stream.qos);
      // Some KMEs register the KSID along with status 7; one that didn't only refuses the CLOSE.
      if (!isNullKsid(response.stream.ksid)) await this.#closeQuietly(response.stream.ksid);
      expectWithinBounds(proposal, this.#options.qosBounds ?? {}, this.kme);
      wanted = adapt(proposal, { ...wanted, qos: proposal });
      response = await this.#openConnect(wanted, options);
    }
    const { status, stream } = response;
    if (!isSuccess('open-connect', status) || stream === undefined) throw statusError('open-connect', status, this.kme);
    try {
      this.#expectKsid(wanted.ksid, stream.ksid);
      expectWithinBounds(stream.qos, this.#options.qosBounds ?? {}, this.kme);
    } catch (error) {
      if (!isNullKsid(stream.ksid)) await this.#closeQuietly(stream.ksid);
      throw error;
    }
    return {
      transport: this.#transport,
      clock: this.#clock,
      callTimeoutMs: this.#callTimeoutMs(stream.qos),
      announcement: { ksid: Uint8Array.from(stream.ksid), qos: stream.qos },
      peerConnected: status === Etsi004Status.success,
    };
  }

  async #openConnect(request: Etsi004OpenConnectRequest, options: CallOptions): Promise<Etsi004OpenConnectResponse> {
    return (await this.#transport.request(request, this.#callTimeoutMs(request.qos), [options.signal])).response;
  }

  #callTimeoutMs({ timeoutMs }: Etsi004Qos): number {
    const longest = Math.max(this.#qos.timeoutMs, MAX_FOREIGN_TIMEOUT_MS);
    return Math.min(timeoutMs, longest) + this.#replyGraceMs;
  }

  async #closeQuietly(ksid: Uint8Array): Promise<void> {
    try {
      await this.#transport.request({ service: 'close', ksid }, this.#replyGraceMs);
    } catch {
      // The KME forgets the stream by its TTL.
    }
  }

  /** A QoS that is fit to be asked for: our own metadata type, or none. */
  #saneQos(qos: Etsi004Qos): Etsi004Qos {
    return qos.metadataMimetype === METADATA_JSON || qos.metadataMimetype === ''
      ? qos
      : { ...qos, metadataMimetype: '' };
  }

  #expectKsid(asked: Uint8Array, answered: Uint8Array): void {
    if (isNullKsid(answered)) {
      throw new KdiError(KdiErrorCode.malformed, `KME ${this.kme} answered OPEN_CONNECT with a NULL Key_stream_ID`);
    }
    if (!isNullKsid(asked) && hexOf(asked) !== hexOf(answered)) {
      throw new KdiError(KdiErrorCode.malformed, `KME ${this.kme} answered OPEN_CONNECT with another Key_stream_ID`);
    }
  }

  #keep<S extends Etsi004DrawStream | Etsi004LookupStream>(stream: S, opened: OpenedStream): S {
    this.#streams.add(stream);
    stream.onClose(async () => {
      this.#streams.delete(stream);
      await this.#closeQuietly(opened.announcement.ksid);
    });
    return stream;
  }

  /** A UUID version 4 (RFC 9562, 5.4). */
  #freshKsid(): Uint8Array {
    const ksid = Uint8Array.from((this.#options.random ?? randomBytes)(KSID_BYTES));
    ksid[6] = ((ksid[6] as number) & 0x0f) | 0x40;
    ksid[8] = ((ksid[8] as number) & 0x3f) | 0x80;
    this.#remember(ksid);
    return ksid;
  }

  /** False if this process drew from that KSID before. */
  #remember(ksid: Uint8Array): boolean {
    const text = hexOf(ksid);
    if (this.#knownKsids.has(text)) return false;
    this.#knownKsids.add(text);
    if (this.#knownKsids.size > MAX_KNOWN_KSIDS) {
      const [oldest] = this.#knownKsids;
      this.#knownKsids.delete(oldest as string);
    }
    return true;
  }

  #uriOf(saeId: string): string {
    const uri = saeId.includes('://')
      ? saeId
      : (this.#options.uriTemplate ?? 'qkd://{sae}').replaceAll('{sae}', encodeURIComponent(saeId));
    if (utf8(uri).length <= MAX_URI_BYTES && !uri.includes('\0')) return uri;
    throw new KdiError(
      KdiErrorCode.config,
      `the URI of SAE ID '${saeId.slice(0, 64)}' is longer than ${MAX_URI_BYTES} bytes, or holds a NUL`,
    );
  }
}
