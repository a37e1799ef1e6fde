/**
 * ETSI GS QKD 004 V2.1.1 as a key manager sees it, without any transport: the
 * calls of its own applications on one side, the other key managers on the
 * other.
 *
 * A stream's owner (see `ChunkAssignment`) is the key manager whose
 * application opened first; if both did at once, the one whose ID sorts first.
 */
import {
  type Etsi004CloseRequest,
  type Etsi004CloseResponse,
  type Etsi004Dialect,
  type Etsi004GetKeyRequest,
  type Etsi004GetKeyResponse,
  type Etsi004OpenConnectRequest,
  type Etsi004OpenConnectResponse,
  type Etsi004Request,
  type Etsi004Response,
  Etsi004Status,
  encodeMetadata,
  isNullKsid,
} from '../../kdi-client/wire/index.ts';
import { fromHex, hexOf } from '../../tls-ext/bytes/index.ts';
import type { Clock } from '../kernel/clock.ts';
import type { SharedKey } from '../stores/index.ts';
import { ChunkAssignment, type ChunkOutcome, PEER_TIMEOUT_MS, type Purpose004 } from './chunk-assignment.ts';
import type { KeyStream } from './key-stream.ts';
import type { KmePeer, PeerDirectory } from './peer-directory.ts';
import { negotiateQos, type QosLimits } from './qos.ts';
import type { StreamAnnouncement, StreamAnnouncementReply } from './stream-port.ts';
import { StreamRegistry } from './stream-registry.ts';
import { uuid4 } from './uuid.ts';
import { settledOrAfter, whenAny } from './waiting.ts';

/** Pause before a reservation that the other end didn't acknowledge is tried anew. */
const RETRY_MS = 100;

export interface KeyStreamSettings {
  /** Whether OPEN_CONNECT with a given KSID waits for the other application. */
  readonly open: 'immediate' | 'blocking';
  readonly qos: QosLimits;
  readonly maxStreamsPerSae: number;
  /** A stream that its application doesn't use for this long (or its TTL, if longer) ends. */
  readonly idleStreamMs: number;
}

export interface KeyStreamsOptions {
  readonly kmeId: string;
  readonly directory: PeerDirectory;
  readonly settings: KeyStreamSettings;
  readonly clock: Clock;
  /** Random bytes for Key_stream_IDs. */
  readonly randomBytes: (length: number) => Uint8Array;
}

export class KeyStreams {
  readonly #options: KeyStreamsOptions;
  readonly #streams: StreamRegistry;
  readonly #chunks: ChunkAssignment;

  constructor(options: KeyStreamsOptions) {
    const { kmeId, directory, clock, settings } = options;
    this.#options = options;
    this.#streams = new StreamRegistry({ directory, clock, ...settings });
    this.#chunks = new ChunkAssignment(kmeId, this.#streams, clock);
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /**
   * Answers a request of the authenticated application `callerSaeId`. Never
   * rejects. When `signal` aborts, a waiting call ends without taking key. The
   * receiver owns, and wipes, the key in the reply.
   */
  handle(
    callerSaeId: string,
    request: Etsi004Request,
    dialect: Etsi004Dialect,
    signal: AbortSignal,
  ): Promise<Etsi004Response> {
    switch (request.service) {
      case 'open-connect':
        return this.#open(callerSaeId, request, dialect, signal);
      case 'get-key':
        return this.#getKey(callerSaeId, request, signal);
      case 'close':
        return Promise.resolve(this.#close(callerSaeId, request));
    }
  }

  // --- calls of the applications here

  async #open(
    callerSaeId: string,
    request: Etsi004OpenConnectRequest,
    dialect: Etsi004Dialect,
    signal: AbortSignal,
  ): Promise<Etsi004OpenConnectResponse> {
    const { directory, settings } = this.#options;
    const remoteSaeId = directory.remoteSae(callerSaeId, request, { demandHost: dialect === 'qubip' });
    const peer = remoteSaeId === undefined ? undefined : directory.peerOfSae(remoteSaeId);
    if (remoteSaeId === undefined || peer === undefined) return openFailure(Etsi004Status.noQkdConnection);
    const allocate = isNullKsid(request.ksid);
    const ksid = allocate ? hexOf(uuid4(this.#options.randomBytes)) : hexOf(request.ksid);
    const known = this.#streams.get(ksid);
    if (known !== undefined) {
      const isJoining = known.localSaeId === callerSaeId && known.remoteSaeId === remoteSaeId;
      if (!isJoining || known.local !== 'not-yet' || known.remote !== 'open') {
        return openFailure(Etsi004Status.ksidInUse);
      }
      return this.#announce(known, peer, 'not-yet');
    }
    if (this.#streams.isRetired(ksid)) return openFailure(Etsi004Status.ksidInUse);
    const verdict = negotiateQos(request.qos, this.#limitsTowards(peer));
    if (verdict.outcome === 'counter-proposal') {
      const stream = { qos: verdict.qos, ksid: request.ksid };
      return { service: 'open-connect', status: Etsi004Status.qosNotMet, stream };
    }
    const stream = this.#streams.register(
      { ksid, localSaeId: callerSaeId, remoteSaeId },
      peer,
      this.#options.kmeId,
      verdict.qos,
    );
    if (stream === undefined) return openFailure(Etsi004Status.noQkdConnection);
    const reply = await this.#announce(stream, peer, 'gone');
    if (settings.open === 'immediate' || allocate || reply.status !== Etsi004Status.peerNotConnected) return reply;
    return this.#blockUntilOpen(stream, peer, signal);
  }

  /** Tells the other key manager that the application here has opened; `onFailure`: what the stream falls back to. */
  async #announce(
    stream: KeyStream,
    peer: KmePeer,
    onFailure: 'not-yet' | 'gone',
  ): Promise<Etsi004OpenConnectResponse> {
    stream.local = 'open';
    this.#streams.touch(stream);
    const announcement: StreamAnnouncement = {
      ksid: stream.ksid,
      fromKmeId: this.#options.kmeId,
      openedBySaeId: stream.localSaeId,
      peerSaeId: stream.remoteSaeId,
      ownerKmeId: stream.ownerKmeId,
      qos: stream.qos,
    };
    const reply = await settledOrAfter(this.#options.clock, PEER_TIMEOUT_MS, peer.port.announceOpen(announcement));
    if (!this.#streams.holds(stream) || stream.local !== 'open') {
      return openFailure(Etsi004Status.noQkdConnection);
    }
    if (reply?.outcome !== 'registered') {
      if (onFailure === 'gone') {
        this.#streams.remove(stream);
        // It may have heard us although we didn't hear it.
        if (reply === undefined) peer.port.announceClose(stream.ksid);
      } else stream.local = 'not-yet';
      return openFailure(reply?.outcome === 'in-use' ? Etsi004Status.ksidInUse : Etsi004Status.noQkdConnection);
    }
    stream.ownerKmeId = reply.ownerKmeId;
    stream.qos = reply.qos;
    return openSuccess(stream);
  }

  async #blockUntilOpen(stream: KeyStream, peer: KmePeer, signal: AbortSignal): Promise<Etsi004OpenConnectResponse> {
    const { clock } = this.#options;
    const deadlineMs = clock.nowMs() + stream.qos.timeoutMs;
    while (stream.remote === 'not-yet' && !signal.aborted && clock.nowMs() < deadlineMs) {
      await whenAny(clock, deadlineMs - clock.nowMs(), signal, (wake) => [stream.onChange(wake)]).done;
    }
    if (stream.remote === 'open') return openSuccess(stream);
    if (this.#streams.holds(stream)) {
      this.#streams.remove(stream);
      peer.port.announceClose(stream.ksid);
    }
    return openFailure(Etsi004Status.timeout);
  }

  async #getKey(
    callerSaeId: string,
    request: Etsi004GetKeyRequest,
    signal: AbortSignal,
  ): Promise<Etsi004GetKeyResponse> {
    const stream = this.#streams.get(hexOf(request.ksid));
    if (stream === undefined || stream.localSaeId !== callerSaeId || stream.local !== 'open') {
      return getKeyFailure(Etsi004Status.noQkdConnection);
    }
    this.#streams.touch(stream);
    // Two calls for one index: the second could only get the same bits, or none.
    if (stream.delivering.has(request.index)) return getKeyFailure(Etsi004Status.insufficientKey);
    stream.delivering.add(request.index);
    try {
      const failure = await this.#obtain(stream, request.index, signal);
      return failure === undefined ? this.#deliver(stream, request) : getKeyFailure(failure);
    } finally {
      stream.delivering.delete(request.index);
    }
  }

  /** Sees to it that key waits at `index`, or says why there is none. */
  async #obtain(stream: KeyStream, index: number, signal: AbortSignal): Promise<Etsi004Status | undefined> {
    const { clock, directory } = this.#options;
    const peer = directory.peer(stream.remoteKmeId);
    const deadlineMs = clock.nowMs() + stream.qos.timeoutMs;
    for (;;) {
      if (stream.local !== 'open' || peer === undefined) return Etsi004Status.noQkdConnection;
      if (signal.aborted) return Etsi004Status.timeout;
      if (stream.waiting(index) !== undefined) return undefined;
      if (stream.isSpent(index)) return Etsi004Status.insufficientKey;
      if (stream.remote !== 'open') return statusWithoutRemote(stream);
      // Listens before it asks, so that no deposit falls between the two.
      const change = whenAny(clock, Math.max(0, deadlineMs - clock.nowMs()), signal, (wake) => [
        stream.onChange(wake),
        peer.supply.onDeposit(wake),
      ]);
      const outcome = await this.#chunks.assign(stream, peer, index);
      if (stream.waiting(index) !== undefined || stream.isSpent(index)) {
        change.cancel();
        continue;
      }
      if (clock.nowMs() >= deadlineMs) {
        change.cancel();
        return stream.qos.timeoutMs === 0 ? Etsi004Status.insufficientKey : Etsi004Status.timeout;
      }
      const cancelRetry = outcome === 'refused' ? clock.setTimer(RETRY_MS, change.cancel) : undefined;
      await change.done;
      cancelRetry?.();
    }
  }

  #deliver(stream: KeyStream, request: Etsi004GetKeyRequest): Etsi004GetKeyResponse {
    const shared = stream.waiting(request.index);
    if (shared === undefined) return getKeyFailure(Etsi004Status.noQkdConnection);
    const wanted = request.metadataSize > 0 && stream.qos.metadataMimetype !== '';
    const metadata = wanted ? this.#metadata(shared) : new Uint8Array();
    if (wanted && metadata.length > request.metadataSize) {
      return {
        service: 'get-key',
        status: Etsi004Status.metadataTooSmall,
        metadataSizeNeeded: metadata.length,
      };
    }
    stream.spend(request.index);
    const key = Uint8Array.from(shared.key.expose());
    shared.key.wipe();
    return { service: 'get-key', status: Etsi004Status.success, delivery: { index: request.index, key, metadata } };
  }

  /** `simulated` is said only where it is so. */
  #metadata(shared: SharedKey): Uint8Array {
    const ageMs = this.#options.clock.nowMs() - shared.depositedAtMs;
    const { hops, simulated } = shared.provenance;
    return encodeMetadata({ ageMs, hops, ...(simulated ? { simulated } : {}) });
  }

  #close(callerSaeId: string, request: Etsi004CloseRequest): Etsi004CloseResponse {
    const stream = this.#streams.get(hexOf(request.ksid));
    if (stream === undefined || stream.localSaeId !== callerSaeId || stream.local !== 'open') {
      return { service: 'close', status: Etsi004Status.noQkdConnection };
    }
    this.#streams.closeLocally(stream);
    return { service: 'close', status: Etsi004Status.success };
  }

  // --- messages of the other key managers

  acceptOpen(announcement: StreamAnnouncement): StreamAnnouncementReply {
    const { ksid, fromKmeId, openedBySaeId, peerSaeId, ownerKmeId, qos } = announcement;
    const { directory, kmeId } = this.#options;
    const peer = directory.peer(fromKmeId);
    if (peer === undefined || !peer.saeIds.includes(openedBySaeId) || !directory.isLocal(peerSaeId)) {
      return { outcome: 'refused' };
    }
    if (this.#streams.isRetired(ksid)) return { outcome: 'in-use' };
    const known = this.#streams.get(ksid);
    if (known === undefined) {
      const stream = this.#streams.register(
        { ksid, localSaeId: peerSaeId, remoteSaeId: openedBySaeId },
        peer,
        ownerKmeId,
        qos,
      );
      if (stream === undefined) return { outcome: 'refused' };
      stream.remote = 'open';
      return { outcome: 'registered', ownerKmeId, qos };
    }
    const sameStream = known.localSaeId === peerSaeId && known.remoteSaeId === openedBySaeId;
    if (!sameStream || known.remote !== 'not-yet') return { outcome: 'in-use' };
    // Opened here too, at the same time: our own announcement is under way, and the reply to it will agree with this one.
    known.remote = 'open';
    if (ownerKmeId !== known.ownerKmeId && fromKmeId < kmeId) {
      known.ownerKmeId = fromKmeId;
      known.qos = qos;
    }
    known.notify();
    return { outcome: 'registered', ownerKmeId: known.ownerKmeId, qos: known.qos };
  }

  acceptClose(fromKmeId: string, ksid: string): void {
    const stream = this.#streams.get(ksid);
    if (stream?.remoteKmeId === fromKmeId) this.#streams.closeRemotely(stream, 'closed');
  }

  async acceptChunkRequest(fromKmeId: string, ksid: string, index: number): Promise<ChunkOutcome> {
    const stream = this.#streams.get(ksid);
    const peer = this.#options.directory.peer(fromKmeId);
    if (stream === undefined || peer === undefined || stream.remoteKmeId !== fromKmeId) return 'refused';
    return this.#chunks.assignForPeer(stream, peer, index);
  }

  acceptRestart(fromKmeId: string): void {
    for (const stream of this.#streams.with(fromKmeId)) this.#streams.closeRemotely(stream, 'lost');
  }

  /** Whether key that the other end reserves has a place here. */
  admits(purpose: Purpose004): boolean {
    return this.#chunks.admits(purpose);
  }

  /** Takes key that the other end has reserved. */
  receive(purpose: Purpose004, shared: SharedKey): void {
    this.#chunks.receive(purpose, shared);
  }

  /** Wipes and forgets everything; with `tellPeers` as a key manager would that comes back after a crash. */
  forget(tellPeers: boolean): void {
    this.#streams.clear();
    if (!tellPeers) return;
    for (const peer of this.#options.directory.peers) peer.port.announceRestart(this.#options.kmeId);
  }

  /** The limits towards one peer: a chunk larger than the store could never be served. */
  #limitsTowards(peer: KmePeer): QosLimits {
    const limits = this.#options.settings.qos;
    return { ...limits, maxChunkBytes: Math.min(limits.maxChunkBytes, peer.supply.level().capacityBytes) };
  }
}

function openSuccess(stream: KeyStream): Etsi004OpenConnectResponse {
  return {
    service: 'open-connect',
    status: stream.remote === 'open' ? Etsi004Status.success : Etsi004Status.peerNotConnected,
    stream: { qos: stream.qos, ksid: fromHex(stream.ksid) },
  };
}

function openFailure(status: Etsi004Status): Etsi004OpenConnectResponse {
  return { service: 'open-connect', status };
}

function getKeyFailure(status: Etsi004Status): Etsi004GetKeyResponse {
  return { service: 'get-key', status };
}

/** Why no new key can be assigned while the other application is not there. */
function statusWithoutRemote(stream: KeyStream): Etsi004Status {
  switch (stream.remote) {
    case 'not-yet':
      return Etsi004Status.getKeyPeerNotConnected;
    case 'lost':
      return Etsi004Status.noQkdConnection;
    case 'closed':
    case 'open':
      return Etsi004Status.insufficientKey;
  }
}
