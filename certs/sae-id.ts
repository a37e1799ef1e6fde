/**
 * SAE IDs and their form in certificates: a SAN of type
 * uniformResourceIdentifier, `urn:qstunnel:sae:` ‖ the SAE ID, percent-encoded
 * (RFC 3986, 2.1) but for unreserved characters. One SAE ID has exactly one
 * spelling, so that names are compared by bytes. See docs/certificates.md.
 */

/** Longest SAE ID, in characters (= bytes, since they are ASCII). */
export const MAX_SAE_ID_LENGTH = 128;

/** What precedes the encoded SAE ID in the SAN. */
const SAE_URI_PREFIX = 'urn:qstunnel:sae:';

// ETSI GS QKD 014 puts the ID into a URL path: the first character keeps `.` and `..` out.
const SAE_ID = /^[A-Za-z0-9][\x21-\x7e]{0,127}$/;

/** What `isSaeId` accepts, in words for error messages. */
export const SAE_ID_SYNTAX =
  'a letter or digit, then up to 127 letters, digits or ASCII punctuation marks, without spaces';

/** Whether `text` is an SAE ID: 1 to 128 visible ASCII characters, the first a letter or digit. */
export function isSaeId(text: string): boolean {
  return SAE_ID.test(text);
}

/** The SAN URI of an SAE ID; throws `RangeError` if it is not one. */
export function saeIdToUri(saeId: string): string {
  if (!isSaeId(saeId)) throw new RangeError(`not an SAE ID: ${SAE_ID_SYNTAX}`);
  const encoded = saeId.replace(/[^A-Za-z0-9._~-]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  });
  return SAE_URI_PREFIX + encoded;
}

/** The SAE ID of a SAN URI, or `undefined` if the URI is another one, or not the one spelling of its SAE ID. */
export function saeIdFromUri(uri: string): string | undefined {
  if (!uri.startsWith(SAE_URI_PREFIX) || uri.length > SAE_URI_PREFIX.length + 3 * MAX_SAE_ID_LENGTH) return undefined;
  const saeId = uri
    .slice(SAE_URI_PREFIX.length)
    .replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return isSaeId(saeId) && saeIdToUri(saeId) === uri ? saeId : undefined;
}
