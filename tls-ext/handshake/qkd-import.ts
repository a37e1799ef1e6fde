/** A QKD key as the PSK that it is imported as (RFC 9258): for a handshake or for a rekey, never for both. */

import { DecodeError } from '../bytes/index.ts';
import type { HashName } from '../crypto/index.ts';
import type { QkdKeyReference, QkdPsk } from '../engine-types.ts';
import {
  decodeImportedIdentity,
  type ImportedPsk,
  importPsk,
  isImportedIdentity,
  TARGET_PROTOCOL_TLS13,
} from '../key-schedule/index.ts';
import { decodeQkdKeyReference, encodeQkdKeyReference, encodeQkdPskContext } from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';

/** Identity and key for suites of one hash. The QKD key itself stays alive, and the caller's. */
export function importQkdKey(psk: QkdPsk, purpose: QkdPsk['context']['purpose'], hash: HashName): ImportedPsk {
  const { reference, context } = psk;
  if (context.purpose !== purpose || context.drawer !== reference.drawer || context.drawer === context.answerer) {
    throw new TlsMisuseError('QKD key with a context for another purpose or with other roles');
  }
  return importPsk(
    {
      externalIdentity: encodeQkdKeyReference(reference),
      context: encodeQkdPskContext(context),
      externalKey: psk.secret,
    },
    hash,
  );
}

/** The QKD key that an identity names, if it is an imported one of ours. */
export function referenceOf(identity: Uint8Array): QkdKeyReference | undefined {
  if (!isImportedIdentity(identity)) return undefined;
  try {
    const imported = decodeImportedIdentity(identity);
    if (imported.targetProtocol !== TARGET_PROTOCOL_TLS13) return undefined;
    return decodeQkdKeyReference(imported.externalIdentity);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
