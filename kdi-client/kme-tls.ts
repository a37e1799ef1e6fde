/** TLS towards a key manager: mutual authentication, and which KME is the right one. */
import { createHash } from 'node:crypto';
import { isIP, isIPv6, SocketAddress } from 'node:net';
import { type ConnectionOptions, checkServerIdentity, type PeerCertificate } from 'node:tls';
import { KdiError, KdiErrorCode } from './errors.ts';

/** Credentials and expectations for one KME. PEM throughout. */
export interface KmeTls {
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
  readonly ca: string | Uint8Array | readonly (string | Uint8Array)[];
  /** The name that the KME's certificate must hold, if it isn't the host of the URL. */
  readonly serverName?: string;
  /**
   * The KME's ID, if it must be in its certificate: as CN, serial number or SAN
   * (DNS or URI). The host name isn't compared then.
   */
  readonly kmeId?: string;
  /** SHA-256 of acceptable leaf certificates (DER), in hex. The host name isn't compared then. */
  readonly pinnedSha256?: readonly string[];
}

/** TLS authenticated by a pre-shared key instead of certificates (SKIP allows it). SHA-256 suites only. */
export interface PskTls {
  readonly psk: { readonly identity: string; readonly key: Uint8Array };
}

/** Said, since the environment (`NODE_TLS_REJECT_UNAUTHORIZED`, `--tls-min-v1.0`) would change what node:tls takes for granted. */
const ALWAYS = { minVersion: 'TLSv1.2', rejectUnauthorized: true } as const;

/** Options for `tls.connect` and undici alike. Throws `ERR_KDI_CONFIG` for unusable PEM only at connect time. */
export function tlsConnectionOptions(tls: KmeTls | PskTls, host: string): ConnectionOptions {
  if ('psk' in tls) {
    return {
      ...ALWAYS,
      ciphers:
        'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:DHE-PSK-AES128-GCM-SHA256:ECDHE-PSK-CHACHA20-POLY1305',
      pskCallback: () => ({ identity: tls.psk.identity, psk: Buffer.from(tls.psk.key) }),
      // The key is the KME's identity; a certificate would mean that it fell back from the PSK. Without one, this is
      // called in TLS 1.2 only, where the suites above leave nothing but the PSK.
      checkServerIdentity: (_host, certificate) =>
        certificate?.raw === undefined
          ? undefined
          : identityError('the KME answered with a certificate instead of the pre-shared key'),
    };
  }
  const name = tls.serverName ?? host;
  return {
    cert: asText(tls.cert),
    key: asText(tls.key),
    ca: (isList(tls.ca) ? tls.ca : [tls.ca]).map(asText),
    ...ALWAYS,
    // RFC 6066, 3: SNI holds host names only.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    checkServerIdentity: (_host, certificate) => checkKme(tls, name, certificate),
  };
}

/** Undefined if `certificate` belongs to the KME that is expected. */
function checkKme(tls: KmeTls, name: string, certificate: PeerCertificate): Error | undefined {
  if (tls.pinnedSha256 !== undefined) {
    const actual = createHash('sha256').update(certificate.raw).digest('hex');
    const matches = tls.pinnedSha256.some((pin) => pin.replaceAll(':', '').toLowerCase() === actual);
    if (!matches) return identityError(`the KME's certificate (SHA-256 ${actual}) is not one of the pinned ones`);
  }
  if (tls.kmeId !== undefined && !certificateNames(certificate).includes(tls.kmeId)) {
    return identityError(
      `the KME's certificate names ${certificateNames(certificate).join(', ') || 'nobody'}, not '${tls.kmeId}'`,
    );
  }
  if (tls.pinnedSha256 !== undefined || tls.kmeId !== undefined) return undefined;
  const error = checkServerIdentity(name, certificate);
  return error === undefined
    ? undefined
    : identityError(
        `the KME's certificate is not for '${name}'; connect by a name that it holds (${certificateNames(certificate).join(', ') || 'none'}), or set the KME's ID`,
        error,
      );
}

/**
 * CN, serial number and SANs of a certificate: GS QKD 014 names no field for
 * the KME's ID.
 */
function certificateNames(certificate: PeerCertificate): string[] {
  const subject = certificate.subject as unknown as Record<string, string | string[] | undefined> | undefined;
  const alternative = alternativeNames(certificate.subjectaltname);
  return [...[subject?.CN, subject?.serialNumber].flatMap((entry) => entry ?? []), ...alternative];
}

/**
 * SANs (DNS, URI, IP) of a certificate as node writes them in one line, addresses as people write them. Node quotes
 * names with special characters, and a name could hold what looks like another one: quoted ones are left out.
 */
export function alternativeNames(subjectAltName: string | undefined): string[] {
  return (subjectAltName ?? '')
    .replace(/"(?:[^"\\]|\\.)*"/g, '')
    .split(', ')
    .flatMap((entry) => /^(?:DNS|URI|IP Address):(.+)$/.exec(entry)?.[1] ?? [])
    .map((name) => (isIPv6(name) ? new SocketAddress({ address: name, family: 'ipv6' }).address : name));
}

function identityError(message: string, cause?: Error): KdiError {
  return new KdiError(KdiErrorCode.kmeIdentity, message, cause === undefined ? {} : { cause });
}

/** What to do about it, by the code of what node:tls or node:net reported. */
const ADVICE: Readonly<Record<string, string>> = {
  ECONNREFUSED: '; nothing listens there: check the port of the URL, and that the KME runs',
  ENOTFOUND: '; the name is not known: check the host of the URL',
  EAI_AGAIN: '; the name is not known: check the host of the URL',
  CERT_HAS_EXPIRED: '; its certificate has expired: renew it there, or compare the clocks of both machines',
  CERT_NOT_YET_VALID: '; its certificate is not valid yet: compare the clocks of both machines',
  ...Object.fromEntries(
    [
      ...['SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      ...['UNABLE_TO_GET_ISSUER_CERT', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'CERT_SIGNATURE_FAILURE'],
    ].map((code) => [code, "; its certificate is of none of the CAs that we trust: give the KME's (kme-ca)"]),
  ),
};

/**
 * A `KdiError` for what node:tls or node:net reported. `phase` is how far the connection had come; `unanswered`: to a
 * request over HTTP, of whose reply nothing has come.
 */
export function connectionError(
  error: unknown,
  kme: string,
  phase: 'connecting' | 'handshake' | 'unanswered' | 'replying',
): KdiError {
  if (error instanceof KdiError) return error;
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? '';
  const reason = error instanceof Error ? error.message : String(error);
  // In TLS 1.3 the server judges our certificate after our handshake is done.
  if (code.startsWith('ERR_SSL') && phase !== 'connecting') {
    return /ALERT/.test(code)
      ? new KdiError(KdiErrorCode.tls, `KME ${kme} refused our certificate or TLS parameters (${code})`, {
          cause: error,
        })
      : new KdiError(KdiErrorCode.tls, `no TLS with KME ${kme} (${code}): does it speak TLS on this port?`, {
          cause: error,
        });
  }
  switch (phase) {
    case 'connecting':
      return new KdiError(KdiErrorCode.connect, `no connection to KME ${kme}: ${code || reason}${ADVICE[code] ?? ''}`, {
        cause: error,
      });
    case 'handshake':
      return isTransportCode(code)
        ? new KdiError(KdiErrorCode.closed, `KME ${kme} closed the connection during the TLS handshake (${code})`, {
            cause: error,
          })
        : new KdiError(KdiErrorCode.tls, `KME ${kme} is not trusted: ${code || reason}${ADVICE[code] ?? ''}`, {
            cause: error,
          });
    case 'unanswered':
      // In TLS 1.3 so ends also a connection whose certificate is refused.
      return new KdiError(
        KdiErrorCode.closed,
        `KME ${kme} closed the connection without an answer (${code || reason}); does it admit our certificate, and is this its port for HTTP?`,
        { cause: error },
      );
    case 'replying':
      return new KdiError(
        KdiErrorCode.closed,
        `KME ${kme} broke the connection before its reply was complete (${code || reason})`,
        {
          cause: error,
        },
      );
  }
}

function isTransportCode(code: string): boolean {
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'ETIMEDOUT' || code === 'ECONNABORTED';
}

function isList(ca: KmeTls['ca']): ca is readonly (string | Uint8Array)[] {
  return Array.isArray(ca);
}

function asText(pem: string | Uint8Array): string | Buffer {
  return typeof pem === 'string' ? pem : Buffer.from(pem);
}
