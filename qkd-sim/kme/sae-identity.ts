/**
 * Whose request it is, and who is meant: SAE IDs from client certificates and
 * from the Source and Destination of GS QKD 004, whose form the standards
 * leave open.
 */
import type { X509Certificate } from 'node:crypto';

/** Where a client certificate carries the SAE ID. The standards name no field; these are what is met. */
export type SaeIdentityField = 'san-uri' | 'cn' | 'serial-number';

/** Prefix of the SAN URI that names an SAE, before its percent-encoded ID. */
export const SAE_URI_PREFIX = 'urn:qstunnel:sae:';

const MAX_SAE_ID_LENGTH = 128;

/** The SAE ID in a certificate; `undefined` unless there is exactly one. */
export function saeIdOfCertificate(
  certificate: Pick<X509Certificate, 'subject' | 'subjectAltName'>,
  field: SaeIdentityField,
): string | undefined {
  const found = field === 'san-uri' ? saeUris(certificate) : subjectValues(certificate, field);
  const [only] = found;
  return found.length === 1 && only !== undefined && only.length > 0 && only.length <= MAX_SAE_ID_LENGTH
    ? only
    : undefined;
}

/**
 * Node quotes names with special characters, so a `URI:` behind a separator
 * can't be smuggled in by another name; quoted ones are no SAE ID of ours.
 */
function saeUris({ subjectAltName }: Pick<X509Certificate, 'subjectAltName'>): string[] {
  const prefix = `URI:${SAE_URI_PREFIX}`;
  return (subjectAltName ?? '')
    .replace(/"(?:[^"\\]|\\.)*"/g, '')
    .split(', ')
    .filter((name) => name.startsWith(prefix))
    .map((name) => percentDecoded(name.slice(prefix.length)) ?? '');
}

/** `subject` has one `KEY=value` line per attribute; multi-valued RDNs are joined by ` + ` and not taken. */
function subjectValues({ subject }: Pick<X509Certificate, 'subject'>, field: 'cn' | 'serial-number'): string[] {
  const prefix = field === 'cn' ? 'CN=' : 'serialNumber=';
  return (subject ?? '')
    .split('\n')
    .filter((line) => line.startsWith(prefix))
    .map((line) => line.slice(prefix.length));
}

/**
 * Which of the SAE IDs known here a Source or Destination names: the text as
 * it stands, an SAE URN, or the host, user or last path segment of a URI.
 */
export function saeIdOfUri(uri: string, isKnown: (saeId: string) => boolean): string | undefined {
  if (isKnown(uri)) return uri;
  const candidates: string[] = [];
  if (uri.startsWith(SAE_URI_PREFIX)) candidates.push(uri.slice(SAE_URI_PREFIX.length));
  // Not `URL`: it would lower-case the host, and SAE IDs have case.
  const parts = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:([^@/?#]*)@)?([^/?#]*)([^?#]*)/.exec(uri);
  if (parts !== null) {
    const [, user = '', authority = '', path = ''] = parts;
    candidates.push(authority.replace(/:\d*$/, ''), authority, user, path.slice(path.lastIndexOf('/') + 1));
  }
  return candidates
    .flatMap((candidate) => percentDecoded(candidate) ?? [])
    .find((candidate) => candidate !== '' && isKnown(candidate));
}

/** Whether a URI has a scheme and a host, which dialect `qubip` demands. */
export function hasSchemeAndHost(uri: string): boolean {
  return /^[A-Za-z][A-Za-z0-9+.-]*:\/\/(?:[^@/?#]*@)?[^/?#:]/.test(uri);
}

function percentDecoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
