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
import { ClientSession } from './client-session.ts';
import { type ClientTicket, ClientTickets } from './client-tickets.ts';
import { ConnectionJournal, handshakeFacts } from './connection-journal.ts';
import { KeyDescent } from './key-budget.ts';
import { policyTowards } from './peer-policy.ts';
import { RekeyQueue } from './rekey-queue.ts';
import type { PeerFacts } from './server-tickets.ts';
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
  const { settings } = options;
  const { tickets: count, rekeyAfter: limits, peer, auth } = settings;
  const { peerSae } = peer;
  const tickets = count > 0 && auth === 'certificate' ? new ClientTickets({ limits, count, peerSae }) : undefined;
  const service: ClientService = { ...options, queue: new RekeyQueue(options.keys), tickets };
  return startTunnel({
    role: 'client',
    settings,
    log: options.log,
    serve: (accepted, slot) => new CarriedConnection(service, accepted, slot).start(),
    stopped: () => tickets?.close(),
  });
}

/** What the connections of one service share. */
interface ClientService extends ClientTunnelOptions {
  readonly queue: RekeyQueue;
  readonly tickets: ClientTickets | undefined;
}

/** What a handshake offers. */
type Offer = KeyOffer | { readonly ticket: ClientTicket };

/** What a completed handshake leaves behind. */
interface Established {
  readonly connection: TlsConnection;
  readonly summary: HandshakeSummary;
  readonly peer: PeerFacts;
  readonly descent: KeyDescent | undefined;
  readonly policy: PolicySettings;
}

/** One application's connection, from its acceptance to its end; it may take more than one handshake. */
class CarriedConnection {
  readonly #options: ClientService;
  readonly #accepted: AcceptedSocket;
  readonly #slot: Slot;
  readonly #journal: ConnectionJournal;
  #policy: PolicySettings;

  constructor(options: ClientService, accepted: AcceptedSocket, slot: Slot) {
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

  /** With a key of its own while there are enough; a ticket spares one when they are scarce. */
  #begin(): void {
    const { keys, tickets } = this.#options;
    const ticketAtHand = tickets?.atHand ?? false;
    const offer = keys.take({ ticketAtHand });
    const ticket = ticketAtHand && 'reason' in offer ? tickets?.take() : undefined;
    if (ticket !== undefined) {
      this.#attempt({ ticket }, 1);
      return;
    }
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

  #attempt(offer: Offer, attempt: number): void {
    this.#journal.handshakeStarts();
    const handshake = new ClientHandshake(this.#options, this.#policy, offer, this.#journal, {
      admitted: (established) => this.#carry(established),
      retry: () => this.#retry(attempt),
      refused: (verdict) => this.#refuse(verdict),
      failed: (failure) => this.fail(failure),
      mayRetry: attempt < MAX_ATTEMPTS,
    });
    this.#slot.cut = (failure) => handshake.connection.destroy(failure);
  }

  /** A key that had been agreed, or a ticket, was not there after all. Another key, or the wait for it. */
  #retry(attempt: number): void {
    const offer = this.#options.keys.take();
    if ('lease' in offer) this.#attempt(offer, attempt + 1);
    else this.#waitForKey(attempt + 1);
  }

  /** Joins the application to the tunnel; returns what must hear of the tunnel's end. */
  #carry(established: Established): (failure: Error | undefined) => void {
    const { keys, queue, tickets, settings } = this.#options;
    const { connection } = established;
    this.#slot.handshakeDone();
    const session = new ClientSession({
      ...established,
      ...{ keys, queue, tickets, limits: settings.rekeyAfter, journal: this.#journal },
    });
    const relay = new Relay(connection, (onChunk) => this.#accepted.take(plainReadBuffer, onChunk), settings.limits);
    return (failure) => {
      session.stop();
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
  admitted(established: Established): (failure: Error | undefined) => void;
  /** The key or ticket was not there; called when the connection is gone. */
  retry(): void;
  refused(verdict: PolicyVerdict): void;
  failed(failure: Error | undefined): void;
  readonly mayRetry: boolean;
}

/** One TLS connection to the other proxy. */
class ClientHandshake implements HandshakeHandler {
  readonly connection: TlsConnection;
  readonly #options: ClientService;
  readonly #journal: ConnectionJournal;
  #policy: PolicySettings;
  readonly #outcome: HandshakeOutcome;
  readonly #offer: Offer;
  #lease: KeyLease | undefined;
  #refusal: PolicyVerdict | undefined;
  #retry = false;
  #peer: PeerFacts | undefined;
  #carried: ((failure: Error | undefined) => void) | undefined;

  constructor(
    options: ClientService,
    policy: PolicySettings,
    offer: Offer,
    journal: ConnectionJournal,
    outcome: HandshakeOutcome,
  ) {
    const { settings } = options;
    this.#options = options;
    this.#policy = policy;
    this.#journal = journal;
    this.#outcome = outcome;
    this.#offer = offer;
    this.#lease = 'lease' in offer ? offer.lease : undefined;
    this.connection = TlsConnection.dial(settings.connect, {
      engine: createClientEngine({ ...engineOptions(options, offer), admit: (summary) => this.#admits(summary) }),
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
    const { sae: peerSae, authentication, notAfterMs } = judgement;
    this.#peer = { peerSae, authentication, notAfterMs };
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

  /** Policy's word before our Finished: to the server, what is refused here never was a connection. */
  #admits(summary: HandshakeSummary): boolean {
    const verdict = judgeHandshake(this.#policy, handshakeFacts(summary));
    if (verdict.mode !== 'refused') return true;
    const { reason } = verdict;
    this.#retry = (reason === 'reference_unavailable' || reason === 'ticket_refused') && this.#outcome.mayRetry;
    this.#refusal = verdict;
    this.#settleLease('unavailable');
    return false;
  }

  handshakeComplete(summary: HandshakeSummary): void {
    const peer = this.#peerOf(summary);
    const descent = this.#descentOf(summary);
    this.#journal.note({ peer: peer.peerSae, auth: peer.authentication });
    this.#journal.handshakeComplete(this.connection, summary, this.#lease);
    if (summary.psk === 'resumption' && descent !== undefined) this.#journal.resumed(descent);
    this.#settleLease(descent === undefined ? 'unavailable' : 'used');

    this.#journal.judged(judgeHandshake(this.#policy, handshakeFacts(summary)));
    if (summary.psk === 'qkd') void this.#options.memory?.sawQkd(peer.peerSae);
    const { connection } = this;
    this.#carried = this.#outcome.admitted({ connection, summary, peer, descent, policy: this.#policy });
  }

  ended(failure: Error | undefined): void {
    // A stock peer says by an alert that it does not have the key; nothing else would tell.
    const refused = this.#options.settings.auth === 'psk' && failure instanceof TlsError;
    this.#settleLease(refused ? 'unavailable' : 'unfinished');
    // Where the engine never came to it.
    pskOf(this.#offer)?.secret.wipe();
    if (this.#carried !== undefined) this.#carried(failure);
    else if (this.#retry) this.#outcome.retry();
    else if (this.#refusal !== undefined) this.#outcome.refused(this.#refusal);
    else if (wasRefusedByPeer(failure)) this.#refusedByPeer(failure);
    else this.#outcome.failed(failure);
  }

  /** The server said no before its Finished: what it said is not authenticated, what we offered we know. */
  #refusedByPeer(failure: TlsError): void {
    const offer = this.#offer;
    // A server that does not take the ticket and demands QKD may take a key, whatever we demand ourselves.
    const worthIt = 'ticket' in offer || ('lease' in offer && needsQkd(this.#policy.require));
    if (worthIt && this.#outcome.mayRetry) {
      this.#outcome.retry();
      return;
    }
    const reason: FallbackReason =
      'reason' in offer ? offer.reason : 'ticket' in offer ? 'ticket_refused' : 'reference_unavailable';
    this.#journal.note({ mode: 'refused', reason, reasonUnauthenticated: true });
    this.#outcome.failed(failure);
  }

  /** From certificates, from the ticket's session, or, with a plain PSK, from the key, which only the peer has. */
  #peerOf({ psk }: HandshakeSummary): PeerFacts {
    if (psk === 'resumption' && 'ticket' in this.#offer) return this.#offer.ticket;
    if (this.#peer !== undefined) return this.#peer;
    const [peerSae = ''] = this.#options.settings.peer.peerSae;
    return { peerSae, authentication: 'psk', notAfterMs: Number.POSITIVE_INFINITY };
  }

  #descentOf({ psk }: HandshakeSummary): KeyDescent | undefined {
    if (psk === 'resumption') return 'ticket' in this.#offer ? this.#offer.ticket.descent : undefined;
    return psk === 'none' || this.#lease === undefined
      ? undefined
      : new KeyDescent(this.#lease.keyId, performance.now());
  }

  #settleLease(how: 'used' | 'unavailable' | 'unfinished'): void {
    const lease = this.#lease;
    this.#lease = undefined;
    if (how === 'used') lease?.commit();
    else lease?.release(how);
  }
}

function qkdOfferOf(offer: Offer): QkdOffer {
  if ('reason' in offer) return { offer: 'none', reason: offer.reason };
  return { offer: 'ticket' in offer ? 'ticket' : 'key' };
}

function pskOf(offer: Offer): ClientEngineOptions['psk'] {
  if ('reason' in offer) return undefined;
  return 'ticket' in offer ? offer.ticket.psk : offer.lease.psk;
}

function engineOptions(
  { settings, identity, random, bufferPool, tickets }: ClientService,
  offer: Offer,
): ClientEngineOptions {
  const { auth, groups, cipherSuites, signatureSchemes } = settings;
  const serverName = serverNameOf(settings.connect);
  const psk = pskOf(offer);
  return {
    ...{ random, groups, cipherSuites, signatureSchemes, bufferPool, auth },
    ...(psk === undefined ? {} : { psk }),
    ...(serverName === undefined ? {} : { serverName }),
    ...(identity === undefined ? {} : { identity }),
    // Stock peers know nothing of `qkd_psk`.
    ...(auth === 'psk' ? {} : { qkdOffer: qkdOfferOf(offer), offerRekey: true }),
    ...(tickets === undefined ? {} : { ticketRequest: tickets.request }),
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
