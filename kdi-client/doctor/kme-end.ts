/** One of the two key managers of an examination, as far as both kinds of API need it: reachability, TLS, certificates. */
import type { Socket } from 'node:net';
import type { SecureVersion } from 'node:tls';
import { isKdiError, type KdiError, KdiErrorCode } from '../errors.ts';
import type { KmeTls, PskTls } from '../kme-tls.ts';
import type { KmeAddress } from '../kme-url.ts';
import {
  type CertificateFacts,
  type CertificateName,
  EXPIRY_WARNING_DAYS,
  expiryText,
  fieldOfSae,
  namesText,
  readOwnCredentials,
} from './certificates.ts';
import { Clause } from './clauses.ts';
import { ConfigHint } from './doctor-settings.ts';
import type { Examination } from './examination.ts';
import { NOT_TLS, type OpenProbe, openProbe, optionOf, ProbeFailure, type TlsFacts } from './probe-connection.ts';

export interface KmeEndOptions {
  readonly address: KmeAddress;
  readonly tls?: KmeTls | PskTls;
  /** Our SAE ID at this KME. */
  readonly saeId: string;
  /** Whether this is the KME at the peer's end: the IDs of its checks start with `peer-`. */
  readonly isPeer: boolean;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

const HTTPS_CLAUSES = {
  etsi004: Clause.etsi004Connection,
  etsi014: Clause.etsi014Https,
  skip: Clause.skipTls,
} as const;

export class KmeEnd {
  readonly exam: Examination;
  readonly options: KmeEndOptions;
  readonly name: string;
  /** Names in our own certificate; empty over plain TCP. */
  ownNames: readonly CertificateName[] = [];
  /** What was negotiated on the first connection, as in `TLSv1.3`; undefined before it, and over plain TCP. */
  protocol: string | undefined;
  #caNames = '';
  #isFirst = true;

  constructor(exam: Examination, options: KmeEndOptions) {
    this.exam = exam;
    this.options = options;
    this.name = options.address.name;
  }

  /** The ID of a check about this KME. */
  id(check: string): string {
    return this.options.isPeer ? `peer-${check}` : check;
  }

  /** An option of the command line about this KME. */
  option(name: string): string {
    return optionOf(this.options, name);
  }

  /** Looks at our own files. False: they can't be used, and nothing is to be sent. */
  checkOwnCertificate(): boolean {
    const { tls, nowMs, saeId } = this.options;
    const id = this.id('own-certificate');
    if (tls === undefined) {
      this.exam.note(id, null, 'none: plain TCP, and every key can be read on the wire', ConfigHint.unsafePlaintextKme);
      return true;
    }
    if ('psk' in tls) {
      const { identity, key } = tls.psk;
      this.exam.pass(this.id('own-psk'), null, `a pre-shared key of ${key.length} bytes, as ${identity}`);
      return true;
    }
    const own = readOwnCredentials(tls, nowMs, this.option(''));
    if (!own.usable) {
      this.exam.fail(id, null, own.problem);
      return false;
    }
    const { facts } = own;
    this.ownNames = facts.names;
    this.#caNames = own.caNames;
    const detail = `names ${namesText(facts.names)}; issued by ${facts.issuer}; ${expiryText(facts)}`;
    if (facts.state !== 'valid')
      this.exam.fail(id, null, `${detail}${facts.state === 'expired' ? ': issue a new one' : ', or issue a new one'}`);
    else if (fieldOfSae(facts.names, saeId) === undefined) {
      this.exam.note(id, null, `${detail}; ${saeId} is not among the names, which most KMEs want`);
    } else if (facts.daysLeft < EXPIRY_WARNING_DAYS) this.exam.note(id, null, `${detail}: renew it soon`);
    else this.exam.pass(id, null, detail);
    return true;
  }

  /**
   * A connection that is ready for a request. The first one makes the checks
   * `connect`, `tls` and `kme-certificate`, and rejects after a failed one with
   * `StoppedError`; later ones reject with a `KdiError`.
   */
  async connect(maxVersion?: SecureVersion): Promise<Socket> {
    const first = this.#isFirst;
    this.#isFirst = false;
    const { exam, options } = this;
    if (first) exam.waitingFor(`KME ${this.name} to accept the connection`);
    let probe: OpenProbe;
    try {
      probe = await openProbe(options, {
        clock: exam.clock,
        timeoutMs: Math.min(exam.limits.connectMs, exam.remainingMs),
        signal: exam.signal,
        nowMs: options.nowMs,
        ...(maxVersion === undefined ? {} : { maxVersion }),
      });
    } catch (error) {
      if (!(error instanceof ProbeFailure)) throw error;
      if (!first) throw error.error;
      if (error.stage === 'tls') exam.pass(this.id('connect'), null, `${this.name} accepts connections`);
      const failed = error.stage === 'connect' ? 'connect' : 'tls';
      const hint = failed === 'connect' ? refusedHint(error.error) : this.#noTlsHint(error.error);
      const clause = failed === 'connect' ? null : this.#tlsClause();
      exam.fail(this.id(failed), clause, `${error.error.message}${hint} (${error.error.code})`);
      throw new StoppedError();
    }
    // Whatever happens between two requests must not end the process.
    probe.socket.on('error', () => {});
    if (first) {
      exam.pass(this.id('connect'), null, `${this.name} accepts connections, in ${probe.connectedInMs.toFixed(1)} ms`);
      if (probe.tls !== undefined) this.#judgeTls(probe.tls);
    }
    if (probe.tls?.distrust !== undefined) {
      probe.socket.destroy();
      throw first ? new StoppedError() : probe.tls.distrust;
    }
    if (first) exam.waitingFor(`the first reply of KME ${this.name}`);
    return probe.socket;
  }

  #judgeTls(tls: TlsFacts): void {
    const { exam } = this;
    this.protocol = tls.protocol;
    exam.pass(this.id('tls'), this.#tlsClause(), `${tls.protocol.replace('v', ' ')} with ${tls.cipher}`);
    const { certificate, distrust } = tls;
    const id = this.id('kme-certificate');
    if (certificate === undefined) {
      exam.pass(
        this.id('kme-psk'),
        this.#tlsClause(),
        'it knows our pre-shared key, which takes the place of certificates',
      );
      return;
    }
    const detail = `names ${namesText(certificate.names)}; issued by ${certificate.issuer}; ${expiryText(certificate)}`;
    if (distrust === undefined) {
      if (certificate.daysLeft < EXPIRY_WARNING_DAYS)
        exam.note(id, this.#tlsClause(), `${detail}: it has to be renewed soon`);
      else exam.pass(id, this.#tlsClause(), detail);
      return;
    }
    if (distrust.code === KdiErrorCode.kmeIdentity) {
      exam.fail(
        id,
        this.#tlsClause(),
        `${distrust.message}; ${detail} (${distrust.code})`,
        this.#identityHint(certificate),
      );
    } else if (certificate.state !== 'valid') {
      exam.fail(id, this.#tlsClause(), `${distrust.message}; ${detail} (${distrust.code})`);
    } else {
      exam.fail(
        id,
        this.#tlsClause(),
        `${distrust.message}; ${detail}; our CA file holds ${this.#caNames} (${distrust.code})`,
        ConfigHint.kmeCa,
      );
    }
  }

  /** By which setting the certificate would be taken for the KME's own. */
  #identityHint({ names, sha256 }: CertificateFacts): string | undefined {
    const { tls } = this.options;
    // There is no certificate that could take the place of a pre-shared key.
    if (tls === undefined || 'psk' in tls) return undefined;
    if (tls.pinnedSha256 !== undefined) return ConfigHint.kmePin(sha256);
    if (tls.kmeId === undefined) return nameHint(names);
    // A host's name is no ID: what a KME is called stands in CN or serial number, if in either.
    const id = names.find(({ field }) => field !== 'SAN') ?? names[0];
    return id && ConfigHint.kmeId(id.value);
  }

  /** What to look at where nothing came of TLS, and no alert says why. */
  #noTlsHint({ code, cause }: KdiError): string {
    const isSilent = code === KdiErrorCode.timeout || code === KdiErrorCode.closed;
    if (!isSilent && !NOT_TLS.test((cause as NodeJS.ErrnoException | undefined)?.code ?? '')) return '';
    const plain = this.options.address.api === 'etsi004' ? '; 004 without TLS is unsafe-plaintext-kme' : '';
    return `; ${isSilent ? 'is that TLS? ' : ''}compare host and port of the URL${plain}`;
  }

  #tlsClause(): Clause {
    return HTTPS_CLAUSES[this.options.address.api];
  }
}

/** A failed check says why; there is no sense in going on with this KME. */
export class StoppedError extends Error {
  override readonly name = 'StoppedError';
}

function nameHint(names: readonly CertificateName[]): string | undefined {
  const host = names.find(({ field, value }) => field === 'SAN' && !value.includes('/'));
  if (host !== undefined) return ConfigHint.kmeServerName(host.value);
  const [other] = names;
  return other && ConfigHint.kmeId(other.value);
}

function refusedHint(error: KdiError): string {
  return isKdiError(error, KdiErrorCode.connect) ? '' : '; is the host right, and no firewall in between?';
}
