/**
 * How a key is named towards a peer that knows plain PSKs only (`auth: psk`):
 * 014: the key_ID as a UUID; SKIP: the keyId in hex; 004: `ksid:index:slice`.
 */
import {
  bytesOfUuid,
  type KdiApi,
  MAX_SKIP_KEY_ID_BYTES,
  type QkdKeyReference,
  uuidText,
} from '../../kdi-client/index.ts';
import { DecodeError, fromHex, hexOf } from '../../tls-ext/bytes/index.ts';

/** Longest identity that is looked at: SKIP's, two digits a byte. */
const MAX_IDENTITY_BYTES = 2 * MAX_SKIP_KEY_ID_BYTES;
const HEX = /^(?:[0-9a-f]{2})+$/i;

/** The identity that stands for a key in a ClientHello. */
export function plainIdentityText(reference: QkdKeyReference): string {
  switch (reference.api) {
    case 'etsi004':
      return `${uuidText(reference.ksid)}:${reference.index}:${reference.slice}`;
    case 'etsi014':
      return uuidText(reference.keyId);
    case 'skip':
      return hexOf(reference.keyId);
  }
}

/**
 * The key that a stranger's identity names, or `undefined` if it has not the
 * form of one: such an identity never reaches a key manager. 004's is none
 * either, since its keys can't be looked up before their stream is open.
 */
export function referenceOfIdentity(
  api: KdiApi,
  drawer: string,
  identity: Uint8Array,
): Exclude<QkdKeyReference, { api: 'etsi004' }> | undefined {
  if (identity.length === 0 || identity.length > MAX_IDENTITY_BYTES) return undefined;
  const text = String.fromCharCode(...identity);
  switch (api) {
    case 'etsi004':
      return undefined;
    case 'etsi014':
      try {
        return { api, drawer, keyId: bytesOfUuid(text) };
      } catch (error) {
        if (error instanceof DecodeError) return undefined;
        throw error;
      }
    case 'skip':
      return HEX.test(text) ? { api, drawer, keyId: fromHex(text) } : undefined;
  }
}
