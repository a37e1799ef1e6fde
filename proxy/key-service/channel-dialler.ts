/**
 * Keeps the key channel to one address alive: dials, judges the peer, hands the
 * bytes to the drawer's end, and dials again when it is lost.
 */
import {
  cipherSuiteName,
  createClientEngine,
  type EngineIdentity,
  type HandshakeSummary,
  namedGroupName,
} from '../../tls-ext/index.ts';
import { addressText, type SocketAddress, TlsConnection } from '../data-path/index.ts';
import { ProxyError, ProxyErrorCode } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import { ClientRekeying } from '../tunnel/client-rekeying.ts';
import { describeFailure } from '../tunnel/connection-journal.ts';
import type { RekeyAfter } from '../tunnel/key-budget.ts';
import { channelRekeyed } from '../tunnel/rekey-outcome.ts';
import { RekeyQueue } from '../tunnel/rekey-queue.ts';
import { type ClientKeys, KEY_CHANNEL_ALPN } from '../tunnel/settings.ts';
import { judgePeer, type PeerRules } from '../verdict.ts';
import { ReconnectPause } from './back-off.ts';
import { randomFraction } from './random-fraction.ts';

/** One connection to the peer, as its drawer's end sees it. */
export interface DialledChannel {
  readonly peerSae: string;
  send(bytes: Uint8Array): void;
  hangUp(failure: Error): void;
  /** The peer has said hello. Not before is it certain that it admits us: a client is done with its handshake first. */
  greeted(): void;
}

/** The drawer's end of the channel, behind the connections that come and go. */
export interface ChannelEnd {
  connected(connection: DialledChannel): void;
  receive(bytes: Uint8Array): void;
  disconnected(): void;
}

export interface ChannelDiallerOptions {
  readonly address: SocketAddress;
  readonly ownSae: string;
  readonly peer: Omit<PeerRules, 'peerRole' | 'ownSae'>;
  readonly identity: EngineIdentity;
  readonly groups: readonly number[];
  readonly cipherSuites: readonly number[];
  readonly signatureSchemes: readonly number[];
  readonly serverName?: string;
  readonly handshakeTimeoutMs: number;
  readonly random: (lengthBytes: number) => Uint8Array;
  readonly log: EventLog;
  readonly end: ChannelEnd;
  /** For rekeys of the channel itself. */
  readonly keys: Pick<ClientKeys, 'takeForRekey' | 'onKeys'>;
  readonly rekeyAfter: RekeyAfter;
}

const RECONNECT = { firstMs: 250, maxMs: 15_000 };
/** A peer that vanished without a word is found out by the kernel. */
const KEEP_ALIVE_MS = 15_000;

export class ChannelDialler {
  readonly #options: ChannelDiallerOptions;
  readonly #pause: ReconnectPause;
  readonly #repeats = new RepeatLimiter({ perWindow: 1 });
  readonly #rekeyQueue: RekeyQueue;
  #connection: TlsConnection | undefined;
  #rekeying: ClientRekeying | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #onGone: (() => void) | undefined;

  constructor(options: ChannelDiallerOptions) {
    this.#options = options;
    this.#rekeyQueue = new RekeyQueue(options.keys);
    this.#pause = new ReconnectPause({ ...RECONNECT, random: randomFraction });
  }

  start(): void {
    this.#dial();
  }

  /** Ends the channel in order; resolves when its socket is gone. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    const connection = this.#connection;
    if (connection === undefined) return;
    await new Promise<void>((resolve) => {
      this.#onGone = resolve;
      connection.close();
    });
  }

  #dial(): void {
    const options = this.#options;
    let peerSae: string | undefined;
    let connected = false;
    let up = false;
    const engine = createClientEngine({
      random: options.random,
      groups: options.groups,
      cipherSuites: options.cipherSuites,
      signatureSchemes: options.signatureSchemes,
      alpnProtocols: [KEY_CHANNEL_ALPN],
      identity: options.identity,
      auth: 'certificate',
      // It goes without a key, but not without new ones later.
      qkdOffer: { offer: 'none', reason: 'policy' },
      offerRekey: true,
      ...(options.serverName === undefined ? {} : { serverName: options.serverName }),
    });
    const connection = TlsConnection.dial(options.address, {
      engine,
      handshakeTimeoutMs: options.handshakeTimeoutMs,
      handler: {
        peerCertificate: (event) => {
          const rules = { ...options.peer, peerRole: 'server', ownSae: options.ownSae } as const;
          const judgement = judgePeer(rules, event.chain, undefined, Date.now());
          if ('sae' in judgement) peerSae = judgement.sae;
          connection.provideVerdict(judgement.verdict);
        },
        handshakeComplete: (summary) => {
          connected = this.#established(connection, peerSae, summary, () => {
            up = true;
          });
        },
        ended: (failure) => {
          this.#connection = undefined;
          this.#rekeying?.stop();
          this.#rekeying = undefined;
          if (connected) options.end.disconnected();
          if (this.#stopped) {
            this.#onGone?.();
            return;
          }
          const retryInMs = Math.round(this.#pause.next());
          const problem = describeFailure(failure ?? new ProxyError(ProxyErrorCode.peerReset, 'closed by the peer'));
          // While the other side is away this line would come every few seconds.
          if (up || this.#repeats.pass(problem.code ?? '') !== undefined) {
            const { code = '', error = '' } = problem;
            options.log.warn({ event: 'key-channel', state: 'down', ...this.#who(peerSae), code, error, retryInMs });
          }
          this.#timer = setTimeout(() => this.#dial(), retryInMs);
        },
      },
    });
    this.#connection = connection;
  }

  #established(
    connection: TlsConnection,
    peerSae: string | undefined,
    summary: HandshakeSummary,
    onUp: () => void,
  ): boolean {
    const { end, log } = this.#options;
    if (summary.alpnProtocol !== KEY_CHANNEL_ALPN || peerSae === undefined) {
      connection.close(new ProxyError(ProxyErrorCode.keyChannel, 'the peer has no key channel'));
      return false;
    }
    if (summary.rekey) this.#rekeying = this.#startRekeying(connection, peerSae);
    connection.keepAlive(KEEP_ALIVE_MS);
    connection.setDataHandler({
      plaintext: (bytes, release) => {
        end.receive(bytes);
        release?.();
      },
      readEnded: () => connection.close(),
      relieved: () => {},
      idle: () => {},
    });
    end.connected({
      peerSae,
      send: (bytes) => connection.send(bytes),
      hangUp: (failure) => connection.close(failure),
      greeted: () => {
        onUp();
        this.#pause.reset();
        log.info({
          event: 'key-channel',
          state: 'up',
          ...this.#who(peerSae),
          group: namedGroupName(summary.group),
          cipher: cipherSuiteName(summary.cipherSuite),
        });
      },
    });
    return true;
  }

  /** With a key when its time has come, since connections of applications need the first ones more. */
  #startRekeying(connection: TlsConnection, peerSae: string): ClientRekeying {
    const { keys, rekeyAfter: limits, log } = this.#options;
    const rekeying = new ClientRekeying({
      ...{ connection, peerSae, keys, limits, queue: this.#rekeyQueue, demandsQkd: false, eager: false },
      rekeyed: (outcome) => log.info({ ...channelRekeyed(outcome), role: 'drawer', peer: peerSae }),
      refused: (outcome) => log.warn({ event: 'rekey-refused', role: 'drawer', peer: peerSae, ...outcome }),
      expired: (failure) => connection.close(failure),
    });
    connection.setKeyHandler(rekeying);
    return rekeying;
  }

  #who(peer: string | undefined) {
    const { ownSae, address } = this.#options;
    return {
      sae: ownSae,
      role: 'drawer',
      address: addressText(address),
      ...(peer === undefined ? {} : { peer }),
    } as const;
  }
}
