/**
 * A service of mode `client`: takes connections of applications, and carries
 * each of them through a TLS connection of its own to the other proxy.
 */
import { isIP } from 'node:net';
import {
  Alert,
  type ClientEngineOptions,
  createClientEngine,
  type HandshakeSummary,
  type NoOfferReason,
  type QkdOffer,
  TlsError,
  TlsErrorCode,
} from '../../tls-ext/index.ts';
import {
  type AcceptedSocket,
  addressText,
  type HandshakeHandler,
  type PeerCertificate,
  plainReadBuffer,
  Relay,
  type SocketAddress,
  TlsConnection,
} from '../data-path/index.ts';
import { asError, ProxyError, ProxyErrorCode } from '../errors.ts';
import {
  clientPlan,
  type FallbackReason,
  judgeHandshake,
  needsQkd,
  type PolicySettings,
  type PolicyVerdict,
  refuseWithoutKey,
  stricterRequirement,
} from '../policy.ts';
import { judgePeer } from '../verdict.ts';
import { ConnectionJournal, handshakeFacts } from './connection-journal.ts';
import { policyTowards } from './peer-policy.ts';
import type { ClientKeys, KeyLease, KeyOffer, Tunnel, TunnelPorts, TunnelSettings } from './settings.ts';
import { type Slot, startTunnel } from './tunnel.ts';

export interface ClientTunnelOptions extends TunnelPorts {
  readonly settings: TunnelSettings;
  readonly keys: ClientKeys;
}

/** Handshakes tried for one connection of an application: a second one when a key turned out not to be there. */
const MAX_ATTEMPTS = 2;

/**
 * Starts a client service.
 *
 * @throws ProxyError `ERR_PROXY_ADDRESS_IN_USE` or `ERR_PROXY_LISTEN`.
 */
export function startClientTunnel(options: ClientTunnelOptions): Promise<Tunnel> {
  return startTunnel({
    role: 'client',
    settings: options.settings,
    log: options.log,
    serve: (accepted, slot) => new CarriedConnection(options, accepted, slot).start(),
  });
}

/** One application's connection, from its acceptance to its end; it may take more than one handshake. */
class CarriedConnection {
  readonly #options: ClientTunnelOptions;
  readonly #accepted: AcceptedSocket;
  readonly #slot: Slot;
  readonly #journal: ConnectionJournal;
  #policy: PolicySettings;

  constructor(options: ClientTunnelOptions, accepted: AcceptedSocket, slot: Slot) {
    this.#options = options;
    this.#policy = stricterPolicy(options);
    this.#accepted = accepted;
    this.#slot = slot;
    this.#journal = new ConnectionJournal(options.log, {
      service: options.settings.service,
      role: 'client',
      connectionId: slot.connectionId,
      clientAddress: accepted.remoteAddress,
    });
    this.#journal.note({ backend: addressText(options.settings.connect) });
  }

  start(): void {
    const { memory, keys, settings } = this.#options;
    const { peerSae } = settings.peer;
    // Who will answer is known if somebody has at this address, or if there is only one who may.
    const peer = keys.peerSae ?? (peerSae.length === 1 ? peerSae[0] : undefined);
    if (memory === undefined || peer === undefined) {
      this.#begin();
      return;
    }
    let cutBy: ProxyError | undefined;
    this.#slot.cut = (failure) => {
      cutBy = failure;
    };
    policyTowards(memory, this.#policy, peer).then(
      (policy) => {
        this.#policy = policy;
        if (cutBy === undefined) this.#begin();
        else this.fail(cutBy);
      },
      (error) => this.fail(asError(error)),
    );
  }

  #begin(): void {
    const offer = this.#options.keys.take();
    if ('reason' in offer && clientPlan(this.#policy, { offer: 'none', reason: offer.reason }) === 'wait') {
      this.#waitForKey(1);
    } else {
      this.#attempt(offer, 1);
    }
  }

  /** The key is required: wait for one, and refuse if none comes. */
  #waitForKey(attempt: number): void {
    const policy = this.#policy;
    const waiting = new AbortController();
    let cutBy: ProxyError | undefined;
    this.#slot.cut = (failure) => {
      cutBy = failure;
      waiting.abort();
    };
    this.#options.keys.takeWithin(policy.keyWaitMs, waiting.signal).then(
      (offer) => {
        if (cutBy !== undefined) {
          if ('lease' in offer) offer.lease.release('unfinished');
          this.fail(cutBy);
        } else if ('lease' in offer) {
          this.#attempt(offer, attempt);
        } else {
          this.#refuse(refuseWithoutKey(policy, offer.reason));
        }
      },
      (error) => this.fail(cutBy ?? asError(error)),
    );
  }

  #attempt(offer: KeyOffer, attempt: number): void {
    this.#journal.handshakeStarts();
    const handshake = new ClientHandshake(this.#options, this.#policy, offer, this.#journal, {
      admitted: (connection) => this.#carry(connection),
      retry: () => this.#retry(attempt),
      refused: (verdict) => this.#refuse(verdict),
      failed: (failure) => this.fail(failure),
      mayRetry: attempt < MAX_ATTEMPTS,
    });
    this.#slot.cut = (failure) => handshake.connection.destroy(failure);
  }

  /** A key that had been agreed was not there after all. Another one, or the wait for it. */
  #retry(attempt: number): void {
    const offer = this.#options.keys.take();
    if ('lease' in offer) this.#attempt(offer, attempt + 1);
    else this.#waitForKey(attempt + 1);
  }

  /** Joins the application to the tunnel; returns what must hear of the tunnel's end. */
  #carry(connection: TlsConnection): (failure: Error | undefined) => void {
    this.#slot.handshakeDone();
    const relay = new Relay(
      connection,
      (onChunk) => this.#accepted.take(plainReadBuffer, onChunk),
      this.#options.settings.limits,
    );
    return (failure) => {
      relay.tlsEnded(failure);
      this.#journal.finish(failure, relay.counts);
      this.#slot.free();
    };
  }

  #refuse(verdict: PolicyVerdict): void {
    this.#journal.judged(verdict);
    const explanation = verdict.mode === 'refused' ? verdict.explanation : '';
    this.fail(new ProxyError(ProxyErrorCode.policy, explanation));
  }

  fail(failure: Error | undefined): void {
    this.#accepted.reset();
    this.#journal.finish(failure);
    this.#slot.free();
  }
}

interface HandshakeOutcome {
  admitted(connection: TlsConnection): (failure: Error | undefined) => void;
  /** The key was not there; called when the connection is gone. */
  retry(): void;
  refused(verdict: PolicyVerdict): void;
  failed(failure: Error | undefined): void;
  readonly mayRetry: boolean;
}

/** One TLS connection to the other proxy. */
class ClientHandshake implements HandshakeHandler {
  readonly connection: TlsConnection;
  readonly #options: ClientTunnelOptions;
  readonly #journal: ConnectionJournal;
  #policy: PolicySettings;
  readonly #outcome: HandshakeOutcome;
  readonly #qkdOffer: QkdOffer;
  #lease: KeyLease | undefined;
  #offeredKey: boolean;
  #refusal: PolicyVerdict | undefined;
  #retry = false;
  #peerSae: string | undefined;
  #carried: ((failure: Error | undefined) => void) | undefined;

  constructor(
    options: ClientTunnelOptions,
    policy: PolicySettings,
    offer: KeyOffer,
    journal: ConnectionJournal,
    outcome: HandshakeOutcome,
  ) {
    const { settings } = options;
    this.#options = options;
    this.#policy = policy;
    this.#journal = journal;
    this.#outcome = outcome;
    this.#lease = 'lease' in offer ? offer.lease : undefined;
    this.#offeredKey = this.#lease !== undefined;
    this.#qkdOffer = 'lease' in offer ? { offer: 'key' } : { offer: 'none', reason: offer.reason };
    this.connection = TlsConnection.dial(settings.connect, {
      engine: createClientEngine(engineOptions(options, this.#qkdOffer, this.#lease)),
      handler: this,
      handshakeTimeoutMs: settings.limits.handshakeTimeoutMs,
    });
  }

  peerCertificate(event: PeerCertificate): void {
    const { settings } = this.#options;
    const rules = { ...settings.peer, peerRole: 'server', ownSae: settings.ownSae } as const;
    const judgement = judgePeer(rules, event.chain, event.context, Date.now());
    if (!('sae' in judgement)) {
      this.connection.provideVerdict(judgement.verdict);
      return;
    }
    this.#peerSae = judgement.sae;
    this.#journal.note({ peer: judgement.sae, auth: judgement.authentication });
    const { memory } = this.#options;
    if (memory === undefined) {
      this.connection.provideVerdict(judgement.verdict);
      return;
    }
    policyTowards(memory, this.#policy, judgement.sae).then(
      (policy) => {
        this.#policy = policy;
        this.connection.provideVerdict(judgement.verdict);
      },
      (error) => this.connection.abort(Alert.internalError, asError(error)),
    );
  }

  handshakeComplete(summary: HandshakeSummary): void {
    const used = summary.psk !== 'none';
    // With a plain PSK it is the key that says who the peer is.
    if (summary.psk === 'plain')
      this.#journal.note({ peer: this.#options.settings.peer.peerSae[0] as string, auth: 'psk' });
    this.#journal.handshakeComplete(this.connection, summary, used ? this.#lease : undefined);
    this.#settleLease(used ? 'used' : 'unavailable');

    const verdict = judgeHandshake(this.#policy, handshakeFacts(summary));
    if (verdict.mode !== 'refused') {
      this.#journal.judged(verdict);
      if (summary.psk === 'qkd' && this.#peerSae !== undefined) void this.#options.memory?.sawQkd(this.#peerSae);
      this.#carried = this.#outcome.admitted(this.connection);
      return;
    }
    this.#retry = verdict.reason === 'reference_unavailable' && this.#outcome.mayRetry;
    this.#refusal = verdict;
    this.connection.abort(Alert.insufficientSecurity, new ProxyError(ProxyErrorCode.policy, verdict.explanation));
  }

  ended(failure: Error | undefined): void {
    // A stock peer says by an alert that it does not have the key; nothing else would tell.
    const refused = this.#options.settings.auth === 'psk' && failure instanceof TlsError;
    this.#settleLease(refused ? 'unavailable' : 'unfinished');
    if (this.#carried !== undefined) this.#carried(failure);
    else if (this.#retry) this.#outcome.retry();
    else if (this.#refusal !== undefined) this.#outcome.refused(this.#refusal);
    else if (wasRefusedByPeer(failure)) this.#refusedByPeer(failure);
    else this.#outcome.failed(failure);
  }

  /** The server said no before its Finished: what it said is not authenticated, what we offered we know. */
  #refusedByPeer(failure: TlsError): void {
    if (this.#offeredKey && this.#outcome.mayRetry && needsQkd(this.#policy.require)) {
      this.#outcome.retry();
      return;
    }
    const reason: FallbackReason | NoOfferReason =
      this.#qkdOffer.offer === 'none' ? this.#qkdOffer.reason : 'reference_unavailable';
    this.#journal.note({ mode: 'refused', reason, reasonUnauthenticated: true });
    this.#outcome.failed(failure);
  }

  #settleLease(how: 'used' | 'unavailable' | 'unfinished'): void {
    const lease = this.#lease;
    this.#lease = undefined;
    if (how === 'used') lease?.commit();
    else lease?.release(how);
  }
}

function engineOptions(
  { settings, identity, random, bufferPool }: ClientTunnelOptions,
  qkdOffer: QkdOffer,
  lease: KeyLease | undefined,
): ClientEngineOptions {
  const { auth, groups, cipherSuites, signatureSchemes } = settings;
  const serverName = serverNameOf(settings.connect);
  return {
    ...{ random, groups, cipherSuites, signatureSchemes, bufferPool, auth },
    ...(lease === undefined ? {} : { psk: lease.psk }),
    ...(serverName === undefined ? {} : { serverName }),
    ...(identity === undefined ? {} : { identity }),
    // Stock peers know nothing of `qkd_psk`.
    ...(auth === 'psk' ? {} : { qkdOffer }),
  };
}

/** Ours, made stricter by what the other side said over the key channel: refused here it costs no handshake. */
function stricterPolicy({ settings: { policy }, keys }: ClientTunnelOptions): PolicySettings {
  const { peerRequirement } = keys;
  if (peerRequirement === undefined) return policy;
  return { ...policy, require: stricterRequirement(policy.require, peerRequirement) };
}

function wasRefusedByPeer(failure: Error | undefined): failure is TlsError {
  return (
    failure instanceof TlsError &&
    failure.code === TlsErrorCode.peerAlert &&
    failure.alert === Alert.insufficientSecurity
  );
}

/** SNI takes host names only (RFC 6066, 3). */
function serverNameOf(address: SocketAddress): string | undefined {
  return 'path' in address || isIP(address.host) !== 0 ? undefined : address.host;
}
