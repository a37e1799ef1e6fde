/**
 * `qstunnel doctor peer`: what a TLS server speaks, found out by several
 * connections with different offers, one after the other. Our engine makes the
 * offers; what is older than TLS 1.3 is asked with the runtime's own TLS.
 */
import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { Identity, TrustAnchors } from '../../certs/index.ts';
import {
  Alert,
  alertName,
  CipherSuite,
  type ClientEngineOptions,
  cipherSuiteName,
  cipherSuites,
  namedGroupName,
  namedGroups,
  SecretBytes,
  signatureSchemes,
  signingKeyFromPkcs8,
  TlsErrorCode,
} from '../../tls-ext/index.ts';
import { addressText, type SocketAddress } from '../data-path/index.ts';
import type { Requirement } from '../policy.ts';
import { KEY_CHANNEL_ALPN } from '../tunnel/settings.ts';
import { reportCertificates, reportTrust } from './certificate-report.ts';
import { attemptOlderVersion, OLDER_VERSIONS } from './older-versions.ts';
import { judgeByRequirement } from './peer-policy.ts';
import type { OfferAnswer, PeerReport, UnknownPskAnswer } from './peer-report.ts';
import { attemptTls, type ReceivedTicket, type TlsOutcome, wasTaken } from './tls-attempt.ts';

export interface PeerExaminationOptions {
  readonly address: SocketAddress;
  /** Shown to the server if it asks. */
  readonly identity?: Identity;
  /** Judges the server's certificate. */
  readonly trust?: TrustAnchors;
  readonly peerSaeIds?: readonly string[];
  /** The `require` that decides `ok`. */
  readonly require: Requirement;
  /** The present, in milliseconds since 1970. */
  readonly nowMs: number;
  readonly onWaiting?: (what: string) => void;
  /** Ends it at once: the report has what was found until then, and no opinion. */
  readonly signal?: AbortSignal;
  readonly limits?: Partial<PeerExaminationLimits>;
}

export interface PeerExaminationLimits {
  readonly totalMs: number;
  /** For one connection. */
  readonly attemptMs: number;
  /** To listen after a handshake, for tickets and refusals. */
  readonly settleMs: number;
}

export const DEFAULT_PEER_LIMITS: PeerExaminationLimits = { totalMs: 13_000, attemptMs: 3_000, settleMs: 400 };

/** Application protocols that are asked for, one at a time. */
const ALPN_PROTOCOLS = [KEY_CHANNEL_ALPN, 'h2', 'http/1.1'] as const;
const UNKNOWN_PSK_BYTES = 32;
const IS_IT_TLS = ': is TLS spoken there? compare host and port';
const STOPPED = 'stopped from outside; what is missing was not asked';

/** Never rejects: a server that is not there is a report too. */
export async function examinePeer(options: PeerExaminationOptions): Promise<PeerReport> {
  const limits = { ...DEFAULT_PEER_LIMITS, ...options.limits };
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), limits.totalMs);
  const signal = AbortSignal.any([abort.signal, ...(options.signal === undefined ? [] : [options.signal])]);
  try {
    const report = await new PeerExamination(options, limits, signal).run();
    return options.signal?.aborted
      ? { ...report, ok: false, summary: STOPPED, policy: [], problems: [STOPPED] }
      : report;
  } finally {
    clearTimeout(timer);
  }
}

class PeerExamination {
  readonly #options: PeerExaminationOptions;
  readonly #limits: PeerExaminationLimits;
  readonly #signal: AbortSignal;
  readonly #serverName: string | undefined;

  constructor(options: PeerExaminationOptions, limits: PeerExaminationLimits, signal: AbortSignal) {
    this.#options = options;
    this.#limits = limits;
    this.#signal = signal;
    const { address } = options;
    this.#serverName = 'host' in address && isIP(address.host) === 0 ? address.host : undefined;
  }

  async run(): Promise<PeerReport> {
    const main = await this.#attempt('TLS 1.3 with all that we offer', {
      ...this.#identity(),
      ...this.#withoutKey,
      offerRekey: true,
      ticketRequest: { newSessionCount: 2, resumptionCount: 1 },
    });
    try {
      return main.unreachable === undefined ? await this.#report(main) : this.#unreachable(main.unreachable);
    } finally {
      for (const { psk } of main.tickets) psk.secret.wipe();
    }
  }

  async #report(main: TlsOutcome): Promise<PeerReport> {
    const { address, nowMs, trust, peerSaeIds, require } = this.#options;
    const tls13 = wasTaken(main);
    const { versions, leaf } = await this.#versions(main, tls13);
    const groups = tls13 ? await this.#groups() : [];
    const suites = tls13 ? await this.#cipherSuites() : [];
    const channel = tls13 ? await this.#attempt('the key channel', { alpnProtocols: [KEY_CHANNEL_ALPN] }) : undefined;
    const alpn = tls13 ? await this.#alpn(channel) : [];
    const psk = await this.#psk(main, groups);
    // A service that demands a key refuses before it shows its certificate; its key channel shows it.
    const chain = [main.chain, channel?.chain ?? [], leaf === undefined ? [] : [leaf]].find(({ length }) => length > 0);
    const trustReport =
      trust === undefined || chain === undefined ? null : reportTrust(chain, trust, peerSaeIds, nowMs);
    const spoken = main.qkdResult !== undefined;
    const demandsKey = spoken && main.summary === undefined && main.peerAlert === Alert.insufficientSecurity;
    const abilities = {
      reachable: tls13,
      postQuantum: groups.some(({ accepted, postQuantum }) => accepted === true && postQuantum),
      qkdPsk: spoken,
      demandsKey,
    };
    const policy = judgeByRequirement(abilities);
    const clientCertificate = this.#clientCertificate(main, demandsKey);
    const asked = policy.find((verdict) => verdict.require === require);
    const problems = [
      ...(tls13 ? [] : [notTls13Text(main, versions)]),
      ...(tls13 && asked?.admitted === 'no' ? [`require: ${require} would refuse it: ${asked.why}`] : []),
      ...(trustReport?.trusted === false ? [`its certificate is not trusted: ${trustReport.why}`] : []),
      ...(clientCertificate.startsWith('refused') ? [`it refuses our certificate (${clientCertificate})`] : []),
      ...(this.#signal.aborted ? ['the examination ended at its limit; what is missing was not asked'] : []),
    ];
    const { summary } = main;
    return {
      ok: problems.length === 0,
      address: addressText(address),
      summary: summaryText(main, versions, channel?.summary?.alpnProtocol === KEY_CHANNEL_ALPN),
      versions,
      groups,
      chosenGroup: summary === undefined ? null : namedGroupName(summary.group),
      cipherSuites: suites,
      chosenCipherSuite: summary === undefined ? null : cipherSuiteName(summary.cipherSuite),
      alpn,
      psk,
      qkdPsk: { spoken, answer: main.qkdResult ?? null, demandsKey, rekey: summary?.rekey ?? null },
      clientCertificate,
      certificates: chain === undefined ? [] : reportCertificates(chain, nowMs),
      trust: trustReport,
      policy,
      problems,
    };
  }

  #unreachable(code: string): PeerReport {
    const why = code === 'timeout' ? `no connection within ${this.#limits.attemptMs} ms` : `no connection (${code})`;
    const abilities = { reachable: false, postQuantum: false, qkdPsk: false, demandsKey: false };
    return {
      ok: false,
      address: addressText(this.#options.address),
      summary: why,
      versions: {},
      groups: [],
      chosenGroup: null,
      cipherSuites: [],
      chosenCipherSuite: null,
      alpn: [],
      psk: {
        unknownIdentity: 'unknown',
        besideCertificate: 'unknown',
        tickets: 0,
        ticketLifetimeSeconds: null,
        resumption: null,
      },
      qkdPsk: { spoken: false, answer: null, demandsKey: false, rekey: null },
      clientCertificate: 'unknown',
      certificates: [],
      trust: null,
      policy: judgeByRequirement(abilities),
      problems: [`${why}: check host and port, and that something listens there`],
    };
  }

  #attempt(what: string, offer: Partial<ClientEngineOptions>): Promise<TlsOutcome> {
    this.#options.onWaiting?.(what);
    return attemptTls({
      address: this.#options.address,
      signal: this.#signal,
      timeoutMs: this.#limits.attemptMs,
      ...(offer.ticketRequest === undefined ? {} : { settleMs: this.#limits.settleMs }),
      engine: {
        random: randomBytes,
        groups: namedGroups.map(({ codePoint }) => codePoint),
        cipherSuites: cipherSuites.map(({ codePoint }) => codePoint),
        signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
        auth: 'certificate',
        ...(this.#serverName === undefined ? {} : { serverName: this.#serverName }),
        ...offer,
      },
    });
  }

  /** The versions by name, and a certificate that an older one showed. */
  async #versions(main: TlsOutcome, tls13: boolean) {
    const open = main.timedOut || isAnsweredInTls(main) ? null : false;
    const versions: Record<string, boolean | null> = { 'TLS 1.3': tls13 || open };
    let leaf: Uint8Array | undefined;
    for (const version of OLDER_VERSIONS) {
      const outcome = await this.#older(version);
      versions[version === 'TLSv1' ? 'TLS 1.0' : version.replace('v', ' ')] = outcome.spoken;
      leaf ??= outcome.leaf;
      // Silent twice: no need to wait for it again.
      if (main.timedOut && outcome.spoken === null) break;
    }
    return { versions, leaf };
  }

  #older(version: (typeof OLDER_VERSIONS)[number]) {
    this.#options.onWaiting?.(`${version.replace('v', ' ')}`);
    return attemptOlderVersion(this.#options.address, version, {
      ...(this.#serverName === undefined ? {} : { serverName: this.#serverName }),
      timeoutMs: this.#limits.attemptMs,
      signal: this.#signal,
    });
  }

  #identity(): Pick<ClientEngineOptions, 'identity'> {
    const { identity } = this.#options;
    return identity === undefined
      ? {}
      : { identity: { chain: identity.chainDer, ...signingKeyFromPkcs8(identity.privateKeyPkcs8) } };
  }

  /** Beside what is asked about, so that a service that demands a key says so under encryption. */
  readonly #withoutKey: Pick<ClientEngineOptions, 'qkdOffer'> = { qkdOffer: { offer: 'none', reason: 'policy' } };

  async #groups() {
    const answers: (OfferAnswer & { readonly postQuantum: boolean })[] = [];
    for (const { codePoint, name, postQuantum } of namedGroups) {
      const outcome = await this.#attempt(`group ${name}`, { ...this.#withoutKey, groups: [codePoint] });
      answers.push({ name, postQuantum, accepted: acceptedBy(outcome) });
    }
    return answers;
  }

  async #cipherSuites(): Promise<OfferAnswer[]> {
    const answers: OfferAnswer[] = [];
    for (const { codePoint, name } of cipherSuites) {
      const outcome = await this.#attempt(name, { ...this.#withoutKey, cipherSuites: [codePoint] });
      answers.push({ name, accepted: acceptedBy(outcome) });
    }
    return answers;
  }

  async #alpn(channel: TlsOutcome | undefined): Promise<PeerReport['alpn']> {
    const answers: PeerReport['alpn'][number][] = [];
    for (const name of ALPN_PROTOCOLS) {
      const isChannel = name === KEY_CHANNEL_ALPN && channel !== undefined;
      const outcome = isChannel ? channel : await this.#attempt(`ALPN ${name}`, { alpnProtocols: [name] });
      answers.push({ name, answer: alpnAnswer(outcome) });
    }
    return answers;
  }

  async #psk(main: TlsOutcome, answers: readonly OfferAnswer[]): Promise<PeerReport['psk']> {
    const [ticket] = main.tickets;
    // A group that is known to be there: the answer is to be about the key.
    const accepted = namedGroups.filter(({ name }) => answers.some((one) => one.name === name && one.accepted));
    const groups = accepted.map(({ codePoint }) => codePoint);
    if (groups.length === 0) return { ...NO_PSK, tickets: 0, ticketLifetimeSeconds: null, resumption: null };
    const alone = await this.#attempt('a pre-shared key that it does not know', {
      psk: unknownPsk(),
      groups,
      auth: 'psk',
      cipherSuites: [CipherSuite.aes128GcmSha256, CipherSuite.chacha20Poly1305Sha256],
    });
    const beside = await this.#attempt('such a key beside a certificate', { psk: unknownPsk(), groups });
    return {
      unknownIdentity: unknownPskAnswer(alone),
      besideCertificate: unknownPskAnswer(beside),
      tickets: main.tickets.length,
      ticketLifetimeSeconds: ticket?.lifetimeSeconds ?? null,
      resumption: ticket === undefined ? null : await this.#resumes(ticket, main),
    };
  }

  async #resumes({ psk, ageAdd, atMs }: ReceivedTicket, { qkdResult }: TlsOutcome): Promise<boolean> {
    const ageMs = Math.round(performance.now() - atMs);
    const outcome = await this.#attempt('resumption by a ticket', {
      psk: { ...psk, secret: psk.secret.clone(), obfuscatedTicketAge: (ageMs + ageAdd) % 2 ** 32 },
      ...(qkdResult === undefined ? {} : { qkdOffer: { offer: 'ticket' } }),
    });
    return outcome.summary?.psk === 'resumption';
  }

  #clientCertificate(main: TlsOutcome, demandsKey: boolean): PeerReport['clientCertificate'] {
    if (demandsKey || main.summary === undefined) return 'unknown';
    const hasIdentity = this.#options.identity !== undefined;
    const { peerAlert } = main;
    if (peerAlert === undefined) return hasIdentity ? 'accepted' : 'none';
    // After our own Finished an alert can only be about what we sent with it.
    if (!hasIdentity && (peerAlert === Alert.certificateRequired || peerAlert === Alert.handshakeFailure))
      return 'required';
    return `refused: ${alertName(peerAlert)}`;
  }
}

const NO_PSK = { unknownIdentity: 'unknown', besideCertificate: 'unknown' } as const;

function unknownPsk() {
  const identity = Uint8Array.from(randomBytes(UNKNOWN_PSK_BYTES));
  return { kind: 'plain', identity, secret: new SecretBytes(Uint8Array.from(randomBytes(UNKNOWN_PSK_BYTES))) } as const;
}

function acceptedBy(outcome: TlsOutcome): boolean | null {
  if (wasTaken(outcome)) return true;
  return outcome.timedOut || outcome.unreachable !== undefined ? null : false;
}

function alpnAnswer(outcome: TlsOutcome): PeerReport['alpn'][number]['answer'] {
  if (outcome.summary?.alpnProtocol !== undefined) return 'accepted';
  if (outcome.peerAlert === Alert.noApplicationProtocol) return 'refused';
  return outcome.summary === undefined ? 'unknown' : 'ignored';
}

function unknownPskAnswer(outcome: TlsOutcome): UnknownPskAnswer {
  // Without the key there is nobody that our engine would trust, so it ends the handshake itself.
  const endedByUs = outcome.error?.code === TlsErrorCode.handshakeFailure;
  if (outcome.summary !== undefined || endedByUs) return 'ignored';
  return outcome.peerAlert === undefined ? 'unknown' : `refused: ${alertName(outcome.peerAlert)}`;
}

/** Whether an alert came that is no objection to the version: TLS is spoken, and which one remains open. */
function isAnsweredInTls({ peerAlert }: TlsOutcome): boolean {
  return peerAlert !== undefined && peerAlert !== Alert.protocolVersion;
}

function notTls13Text(
  { error, peerAlert, timedOut, greeting }: TlsOutcome,
  versions: Readonly<Record<string, boolean | null>>,
): string {
  const older = Object.entries(versions).filter(([, spoken]) => spoken === true);
  if (older.length > 0)
    return `no TLS 1.3, only ${older.map(([name]) => name).join(', ')}: qstunnel speaks TLS 1.3 alone`;
  if (/^[\x20-\x7e]{4}/.test(greeting)) {
    return `what answers there is not TLS; it begins with ${JSON.stringify(greeting.replace(/[^\x20-\x7e]/g, '.'))}: compare host and port`;
  }
  if (timedOut) return `it accepts the connection and says nothing${IS_IT_TLS}`;
  if (peerAlert !== undefined) {
    return `it refuses all that we offer (${alertName(peerAlert)}): it may know pre-shared keys only, as with auth: psk`;
  }
  return error === undefined || greeting === ''
    ? `it closes the connection without a word${IS_IT_TLS}`
    : `no TLS 1.3: ${error.message}`;
}

function summaryText(
  main: TlsOutcome,
  versions: Readonly<Record<string, boolean | null>>,
  keyChannel: boolean,
): string {
  if (versions['TLS 1.3'] === true) {
    return main.qkdResult === undefined
      ? 'TLS 1.3 without qkd_psk: no qstunnel proxy'
      : `TLS 1.3 with qkd_psk${keyChannel ? ' and a key channel' : ''}: a qstunnel proxy`;
  }
  if (Object.values(versions).some((spoken) => spoken)) return 'TLS, but not 1.3';
  if (main.timedOut) return 'silent';
  return isAnsweredInTls(main) ? 'TLS, and nothing that we offer is taken' : 'no TLS';
}
