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
import { judgePeer } from '../verdict.ts';
import { ConnectionJournal, describeFailure, handshakeFacts } from './connection-journal.ts';
import { policyTowards } from './peer-policy.ts';
import {
  KEY_CHANNEL_ALPN,
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
  /** Absent: the service has no key manager, and refuses key channels. */
  readonly keyChannel?: KeyChannelAcceptor;
}

/**
 * Starts a server service.
 *
 * @throws ProxyError `ERR_PROXY_ADDRESS_IN_USE` or `ERR_PROXY_LISTEN`.
 */
export function startServerTunnel(options: ServerTunnelOptions): Promise<Tunnel> {
  let badBinders = 0;
  return startTunnel({
    role: 'server',
    settings: options.settings,
    log: options.log,
    serve: (accepted, slot) => {
      const clientAddress = accepted.remoteAddress;
      new ServedConnection(options, accepted, slot, () => {
        badBinders++;
        const { service } = options.settings;
        options.log.warn({ event: 'bad-binder', service, clientAddress, count: badBinders });
      });
    },
  });
}

class ServedConnection implements HandshakeHandler {
  readonly #options: ServerTunnelOptions;
  readonly #slot: Slot;
  readonly #journal: ConnectionJournal;
  readonly #onBadBinder: () => void;
  readonly #connection: TlsConnection;
  #keyAnswer: ServerKeyAnswer | undefined;
  #peerSae: string | undefined;
  #policy: PolicySettings;
  #relay: Relay | undefined;
  #keyChannel: ReturnType<KeyChannelAcceptor['accept']> | undefined;

  constructor(options: ServerTunnelOptions, accepted: AcceptedSocket, slot: Slot, onBadBinder: () => void) {
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
    const answer = this.#options.keys.lookUp(event, this.#journal.record.clientAddress);
    if ('answer' in answer) void answer.answer.then((late) => this.#decide(late));
    else this.#decide(answer);
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
    this.#peerSae = judgement.sae;
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
    if (this.#keyChannel !== undefined) {
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
    if (acceptor === undefined || this.#peerSae === undefined) {
      const failure = new ProxyError(ProxyErrorCode.keyChannel, 'a key channel, but the service has no key manager');
      this.#connection.close(failure);
      return;
    }
    this.#slot.free();
    this.#logKeyChannel('up', undefined, {
      group: namedGroupName(summary.group),
      cipher: cipherSuiteName(summary.cipherSuite),
    });
    this.#keyChannel = acceptor.accept(this.#connection, this.#peerSae, {
      service: this.#options.settings.service,
      require: this.#options.settings.policy.require,
    });
  }

  #logKeyChannel(state: 'up' | 'down', failure?: Error, more: { group?: string; cipher?: string } = {}): void {
    const { log, settings } = this.#options;
    const peer = this.#peerSae === undefined ? {} : { peer: this.#peerSae };
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
    const used = summary.psk === 'none' ? undefined : key;
    // With a plain PSK it is the key that says who the peer is.
    if (summary.psk === 'plain') this.#journal.note({ peer: settings.peer.peerSae[0] as string, auth: 'psk' });
    this.#journal.handshakeComplete(this.#connection, summary, used);

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
    if (summary.psk === 'qkd' && this.#peerSae !== undefined) void this.#options.memory?.sawQkd(this.#peerSae);
    this.#relay = new Relay(
      this.#connection,
      (onChunk) => dial(settings.connect, plainReadBuffer, onChunk),
      settings.limits,
    );
  }
}

function engineOptions({ settings, identity, random, bufferPool }: ServerTunnelOptions): ServerEngineOptions {
  const { groups, cipherSuites, signatureSchemes } = settings;
  const shared = { random, groups, cipherSuites, signatureSchemes, bufferPool };
  if (settings.auth === 'psk') return { ...shared, auth: 'psk', requestClientCertificate: false, qkd: false };
  return {
    ...shared,
    alpnProtocols: [KEY_CHANNEL_ALPN],
    ...(identity === undefined ? {} : { identity }),
    requestClientCertificate: true,
    auth: 'certificate',
    qkd: true,
  };
}
