/**
 * A service of mode `server`: takes TLS connections from other proxies, judges
 * them, and carries what they hold to the application behind it. Connections
 * of the key channel arrive on the same port; ALPN tells them apart, and they
 * are never forwarded.
 */
import {
  Alert,
  cipherSuiteName,
  createServerEngine,
  type HandshakeSummary,
  namedGroupInfo,
  namedGroupName,
  type ServerEngineOptions,
} from '../../tls-ext/index.ts';
import {
  type AcceptedSocket,
  addressText,
  dial,
  type HandshakeHandler,
  type PeerCertificate,
  type PskRequired,
  plainReadBuffer,
  Relay,
  TlsConnection,
} from '../data-path/index.ts';
import { asError, errorCode, ProxyError, ProxyErrorCode } from '../errors.ts';
import { judgeHandshake, type PolicySettings, serverWithoutKey } from '../policy.ts';
import type { StateStore } from '../state-store.ts';
import { judgePeer } from '../verdict.ts';
import { ConnectionJournal, describeFailure, handshakeFacts } from './connection-journal.ts';
import { KeyDescent } from './key-budget.ts';
import { policyTowards } from './peer-policy.ts';
import { channelRekeyed } from './rekey-outcome.ts';
import { ServerRekeying } from './server-rekeying.ts';
import { ServerSession } from './server-session.ts';
import { type PeerFacts, ServerTickets, type TicketRecord } from './server-tickets.ts';
import {
  KEY_CHANNEL_ALPN,
  KEY_CHANNEL_GROUP,
  type KeyChannelAcceptor,
  type ServerKeyAnswer,
  type ServerKeys,
  type Tunnel,
  type TunnelPorts,
  type TunnelSettings,
} from './settings.ts';
import { type Slot, startTunnel } from './tunnel.ts';

export interface ServerTunnelOptions extends TunnelPorts {
  readonly settings: TunnelSettings;
  readonly keys: ServerKeys;
  /** Where tickets are kept; with `tickets` of the settings above 0. */
  readonly ticketStore?: StateStore<TicketRecord>;
  /** Absent: the service has no key manager, and refuses key channels. */
  readonly keyChannel?: KeyChannelAcceptor;
}

/**
 * Starts a server service.
 *
 * @throws ProxyError `ERR_PROXY_ADDRESS_IN_USE` or `ERR_PROXY_LISTEN`.
 */
export function startServerTunnel(options: ServerTunnelOptions): Promise<Tunnel> {
  const { service, peer, rekeyAfter: limits, tickets: count, auth } = options.settings;
  const { ticketStore: store, random } = options;
  const usesTickets = store !== undefined && count > 0 && auth === 'certificate';
  const tickets = usesTickets
    ? new ServerTickets({ service, store, count, limits, peerSae: peer.peerSae, random })
    : undefined;
  let badBinders = 0;
  return startTunnel({
    role: 'server',
    settings: options.settings,
    log: options.log,
    serve: (accepted, slot) => {
      const clientAddress = accepted.remoteAddress;
      new ServedConnection({ ...options, tickets }, accepted, slot, () => {
        badBinders++;
        options.log.warn({ event: 'bad-binder', service, clientAddress, count: badBinders });
      });
    },
  });
}

/** What the connections of one service share. */
interface ServerService extends ServerTunnelOptions {
  readonly tickets: ServerTickets | undefined;
}

class ServedConnection implements HandshakeHandler {
  readonly #options: ServerService;
  readonly #slot: Slot;
  readonly #journal: ConnectionJournal;
  readonly #onBadBinder: () => void;
  readonly #connection: TlsConnection;
  #keyAnswer: ServerKeyAnswer | undefined;
  /** Of the ticket that is used, if one is. */
  #ticket: TicketRecord | undefined;
  #peer: PeerFacts | undefined;
  #policy: PolicySettings;
  #session: ServerSession | undefined;
  #relay: Relay | undefined;
  #keyChannel: ReturnType<KeyChannelAcceptor['accept']> | undefined;
  #channelRekeying: ServerRekeying | undefined;

  constructor(options: ServerService, accepted: AcceptedSocket, slot: Slot, onBadBinder: () => void) {
    const { settings } = options;
    this.#options = options;
    this.#policy = settings.policy;
    this.#slot = slot;
    this.#onBadBinder = onBadBinder;
    this.#journal = new ConnectionJournal(options.log, {
      service: settings.service,
      role: 'server',
      connectionId: slot.connectionId,
      clientAddress: accepted.remoteAddress,
    });
    this.#connection = TlsConnection.accept(accepted, {
      engine: createServerEngine(engineOptions(options)),
      handler: this,
      handshakeTimeoutMs: settings.limits.handshakeTimeoutMs,
    });
    slot.cut = (failure) => this.#connection.destroy(failure);
  }

  pskRequired(event: PskRequired): void {
    // A key channel carries no application data: it needs no key, and is exempt from `require`.
    if (event.alpnProtocols.includes(KEY_CHANNEL_ALPN)) {
      this.#connection.providePsk({ action: 'continue', result: 'policy' });
      return;
    }
    if (event.qkdOffer?.offer === 'ticket') {
      this.#redeem(event);
      return;
    }
    const answer = this.#options.keys.lookUp(event, this.#journal.record.clientAddress);
    if ('answer' in answer) void answer.answer.then((late) => this.#decide(late));
    else this.#decide(answer);
  }

  #redeem(event: PskRequired): void {
    this.#ticket = undefined;
    const redeeming = this.#options.tickets?.redeem(event) ?? Promise.resolve(undefined);
    redeeming.then(
      (ticket) => {
        this.#ticket = ticket;
        if (ticket === undefined) this.#decide({ why: 'unavailable', reason: 'ticket_refused' });
        else this.#connection.providePsk({ action: 'use', psk: ticket.psk });
      },
      (error) => this.#connection.abort(Alert.internalError, asError(error)),
    );
  }

  #decide(answer: ServerKeyAnswer): void {
    this.#keyAnswer = answer;
    if ('decision' in answer) {
      this.#connection.providePsk(answer.decision);
      return;
    }
    const { auth, policy } = this.#options.settings;
    const decision = serverWithoutKey(policy, answer.why);
    if (decision.action === 'refuse') {
      this.#journal.note({ mode: 'refused', reason: answer.reason, reasonUnauthenticated: true });
    }
    // Without certificates there is nothing under which a refusal could be said: the engine sends its alert at once.
    this.#connection.providePsk(auth === 'psk' ? { ...decision, action: 'continue' } : decision);
  }

  peerCertificate(event: PeerCertificate): void {
    const { settings } = this.#options;
    const rules = { ...settings.peer, peerRole: 'client', ownSae: settings.ownSae } as const;
    const judgement = judgePeer(rules, event.chain, event.context, Date.now());
    if (!('sae' in judgement)) {
      this.#connection.provideVerdict(judgement.verdict);
      return;
    }
    const { sae: peerSae, authentication, notAfterMs } = judgement;
    this.#peer = { peerSae, authentication, notAfterMs };
    this.#journal.note({ peer: judgement.sae, auth: judgement.authentication });
    const { memory } = this.#options;
    if (memory === undefined) {
      this.#connection.provideVerdict(judgement.verdict);
      return;
    }
    policyTowards(memory, settings.policy, judgement.sae).then(
      (policy) => {
        this.#policy = policy;
        this.#connection.provideVerdict(judgement.verdict);
      },
      (error) => this.#connection.abort(Alert.internalError, asError(error)),
    );
  }

  handshakeComplete(summary: HandshakeSummary): void {
    this.#slot.handshakeDone();
    if (summary.alpnProtocol === KEY_CHANNEL_ALPN) this.#becomeKeyChannel(summary);
    else this.#becomeTunnel(summary);
  }

  ended(failure: Error | undefined): void {
    if (errorCode(failure) === 'ERR_TLS_BAD_BINDER') this.#onBadBinder();
    this.#session?.stop();
    this.#ticket?.psk.secret.wipe();
    if (this.#keyChannel !== undefined) {
      this.#channelRekeying?.stop();
      this.#keyChannel.ended();
      this.#logKeyChannel('down', failure);
      return;
    }
    this.#relay?.tlsEnded(failure);
    this.#journal.finish(failure, this.#relay?.counts);
    this.#slot.free();
  }

  #becomeKeyChannel(summary: HandshakeSummary): void {
    const acceptor = this.#options.keyChannel;
    if (acceptor === undefined || this.#peer === undefined) {
      const failure = new ProxyError(ProxyErrorCode.keyChannel, 'a key channel, but the service has no key manager');
      this.#connection.close(failure);
      return;
    }
    if (namedGroupInfo(summary.group)?.postQuantum !== true) {
      const failure = new ProxyError(ProxyErrorCode.keyChannel, `a key channel over ${namedGroupName(summary.group)}`);
      this.#connection.abort(Alert.insufficientSecurity, failure);
      return;
    }
    this.#slot.free();
    this.#logKeyChannel('up', undefined, {
      group: namedGroupName(summary.group),
      cipher: cipherSuiteName(summary.cipherSuite),
    });
    const { service, policy } = this.#options.settings;
    if (summary.rekey) this.#channelRekeying = this.#rekeyChannel(this.#peer.peerSae);
    this.#keyChannel = acceptor.accept(this.#connection, this.#peer.peerSae, { service, require: policy.require });
  }

  /** It is exempt from `require`: without a key it is renewed by ML-KEM alone. */
  #rekeyChannel(peerSae: string): ServerRekeying {
    const { settings, keys, log } = this.#options;
    const connection = this.#connection;
    const rekeying = new ServerRekeying({
      ...{ connection, peerSae, keys, limits: settings.rekeyAfter, demandsQkd: false },
      remoteAddress: this.#journal.record.clientAddress,
      rekeyed: (outcome) => log.info({ ...channelRekeyed(outcome), role: 'answerer', peer: peerSae }),
      refused: (outcome) => log.warn({ event: 'rekey-refused', role: 'answerer', peer: peerSae, ...outcome }),
      expired: (failure) => connection.close(failure),
    });
    connection.setKeyHandler(rekeying);
    return rekeying;
  }

  #logKeyChannel(state: 'up' | 'down', failure?: Error, more: { group?: string; cipher?: string } = {}): void {
    const { log, settings } = this.#options;
    const peer = this.#peer === undefined ? {} : { peer: this.#peer.peerSae };
    const { code, error } = describeFailure(failure);
    log.info({
      event: 'key-channel',
      sae: settings.ownSae,
      role: 'answerer',
      address: this.#journal.record.clientAddress,
      state,
      ...peer,
      ...more,
      ...(code === undefined ? {} : { code }),
      ...(error === undefined ? {} : { error }),
    });
  }

  #becomeTunnel(summary: HandshakeSummary): void {
    const { settings } = this.#options;
    const key = this.#keyAnswer !== undefined && 'burn' in this.#keyAnswer ? this.#keyAnswer : undefined;
    const used = summary.psk === 'qkd' || summary.psk === 'plain' ? key : undefined;
    const ticket = summary.psk === 'resumption' ? this.#ticket : undefined;
    const peer = ticket ?? this.#peer ?? this.#peerByKey();
    const descent = ticket?.descent ?? (used && new KeyDescent(used.keyId, performance.now()));
    this.#journal.note({ peer: peer.peerSae, auth: peer.authentication });
    this.#journal.handshakeComplete(this.#connection, summary, used);
    if (ticket !== undefined) this.#journal.resumed(ticket.descent);

    // The verified Finished burns the key, before any byte of the application passes.
    if (used !== undefined && !used.burn()) {
      this.#journal.note({ mode: 'refused' });
      const failure = new ProxyError(ProxyErrorCode.keyAlreadyUsed, `another handshake has used up ${used.keyId}`);
      this.#connection.abort(Alert.insufficientSecurity, failure);
      return;
    }

    const verdict = judgeHandshake(this.#policy, handshakeFacts(summary));
    this.#journal.note({ backend: addressText(settings.connect) });
    this.#journal.judged(verdict);
    if (verdict.mode === 'refused') {
      this.#connection.abort(Alert.insufficientSecurity, new ProxyError(ProxyErrorCode.policy, verdict.explanation));
      return;
    }
    if (summary.psk === 'qkd') void this.#options.memory?.sawQkd(peer.peerSae);
    const { keys, tickets } = this.#options;
    this.#session = new ServerSession({
      ...{ connection: this.#connection, summary, peer, descent, policy: this.#policy },
      ...{ limits: settings.rekeyAfter, keys, tickets, journal: this.#journal },
    });
    this.#relay = new Relay(
      this.#connection,
      (onChunk) => dial(settings.connect, plainReadBuffer, onChunk),
      settings.limits,
    );
  }

  /** With a plain PSK it is the key that says who the peer is. */
  #peerByKey(): PeerFacts {
    const [peerSae = ''] = this.#options.settings.peer.peerSae;
    return { peerSae, authentication: 'psk', notAfterMs: Number.POSITIVE_INFINITY };
  }
}

function engineOptions({
  settings,
  identity,
  random,
  bufferPool,
  tickets,
  keyChannel,
}: ServerService): ServerEngineOptions {
  const { groups, cipherSuites, signatureSchemes } = settings;
  const shared = { random, groups, cipherSuites, signatureSchemes, bufferPool };
  if (settings.auth === 'psk') return { ...shared, auth: 'psk', requestClientCertificate: false, qkd: false };
  const forChannel = keyChannel !== undefined && !groups.includes(KEY_CHANNEL_GROUP) ? [KEY_CHANNEL_GROUP] : [];
  return {
    ...shared,
    groups: [...groups, ...forChannel],
    alpnProtocols: [KEY_CHANNEL_ALPN],
    ...(identity === undefined ? {} : { identity }),
    requestClientCertificate: true,
    // Some stock clients send no certificate unless they are told which CAs will do.
    certificateAuthorities: settings.peer.trust.names,
    auth: 'certificate',
    qkd: true,
    offerRekey: true,
    acceptTickets: tickets !== undefined,
  };
}
