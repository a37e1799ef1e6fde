/** Which PSK a server uses, if any: asked of the owner of the keys, then proved by its binder (RFC 8446, 4.2.11; RFC 9258; RFC 9973). */
import { bytesEqual, DecodeError } from '../bytes/index.ts';
import type {
  OfferedPsk,
  PskDecision,
  QkdKeyReference,
  QkdOffer,
  QkdPskContext,
  QkdResult,
  ServerEngineOptions,
} from '../engine-types.ts';
import { decodeImportedIdentity, EarlySecret, TARGET_PROTOCOL_TLS13, verifyPskBinder } from '../key-schedule/index.ts';
import { decodeQkdKeyReference, PskKeyExchangeMode } from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';
import { importQkdPsk, type OfferedIdentity } from './client-offer.ts';
import { badBinder, handshakeFailure, illegalParameter } from './faults.ts';
import type { AcceptedClientHello } from './server-retry.ts';
import { awaitPskDecision, type HandshakeWire, type SecretScope, type Steps } from './steps.ts';

/** Identities of a ClientHello that are looked at; the rest is as if it were not there. */
export const MAX_CONSIDERED_IDENTITIES = 4;

/** What came of the PSKs and of `qkd_psk`. */
export interface PskOutcome {
  readonly selected: SelectedPsk | undefined;
  /** Ours to say in EncryptedExtensions; absent where the client did not speak of it. */
  readonly qkdResult: QkdResult | undefined;
  readonly qkdOffer: QkdOffer | undefined;
  /** Features of the client's `qkd_psk`. */
  readonly qkdFeatures: number;
  /** Policy wants no handshake: say the result under encryption, then `insufficient_security`. */
  readonly refused: boolean;
}

/** The PSK whose binder has been verified. */
export interface SelectedPsk {
  readonly index: number;
  readonly kind: 'qkd' | 'plain';
  readonly earlySecret: EarlySecret;
  readonly certWithExternPsk: boolean;
  readonly reference: QkdKeyReference | undefined;
  readonly context: QkdPskContext | undefined;
}

/** Asks for a PSK where one may be used, and checks the binder of the one that is. */
export function* choosePsk(
  wire: HandshakeWire,
  options: ServerEngineOptions,
  scope: SecretScope,
  accepted: AcceptedClientHello,
): Steps<PskOutcome> {
  const { hello } = accepted;
  const certWithExternPsk = options.auth === 'certificate' && (hello.extensions.certWithExternPsk ?? false);
  const offered = eligiblePsks(accepted, options, certWithExternPsk);
  const qkdPsk = options.qkd ? hello.extensions.qkdPsk : undefined;
  const qkdOffer = qkdPsk?.offer;
  if (qkdOffer !== undefined) expectConsistentOffer(accepted, qkdOffer);
  const outcome = { qkdOffer, qkdFeatures: qkdPsk?.features ?? 0 };
  const resultOf = (result: QkdResult) =>
    qkdOffer === undefined ? undefined : qkdOffer.offer === 'none' ? 'not_offered' : result;

  let candidates = offered;
  for (;;) {
    if (candidates.length === 0 && !options.qkd) {
      expectCertificatesAllowed(options);
      return { ...outcome, selected: undefined, qkdResult: undefined, refused: false };
    }
    wire.emit({
      type: 'psk-required',
      offered: candidates,
      certWithExternPsk,
      ...(qkdOffer === undefined ? {} : { qkdOffer }),
      ...(hello.extensions.serverName === undefined ? {} : { serverName: hello.extensions.serverName }),
      alpnProtocols: hello.extensions.alpn ?? [],
    });
    const decision: PskDecision = yield* awaitPskDecision();
    switch (decision.action) {
      case 'use': {
        if (candidates.length === 0) throw new TlsMisuseError('a PSK was provided, but none was offered');
        const selected = selectPsk(accepted, decision.psk, candidates.length, certWithExternPsk, scope);
        if (selected !== undefined) {
          return {
            ...outcome,
            selected,
            qkdResult: resultOf(selected.kind === 'qkd' ? 'used' : 'unavailable'),
            refused: false,
          };
        }
        // The client meant another key, context or hash than ours: as if it had offered nothing.
        candidates = [];
        break;
      }
      case 'continue':
        expectCertificatesAllowed(options);
        return { ...outcome, selected: undefined, qkdResult: resultOf(decision.result), refused: false };
      case 'refuse':
        return { ...outcome, selected: undefined, qkdResult: resultOf(decision.result), refused: true };
    }
  }
}

/**
 * The identities to look at. A PSK never weakens authentication: where
 * certificates are asked for, external PSKs without extension 33 are not there.
 */
function eligiblePsks(
  { hello }: AcceptedClientHello,
  { auth }: ServerEngineOptions,
  certWithExternPsk: boolean,
): OfferedPsk[] {
  const { preSharedKey, pskKeyExchangeModes } = hello.extensions;
  if (preSharedKey === undefined || !pskKeyExchangeModes?.includes(PskKeyExchangeMode.pskDheKe)) return [];
  if (auth === 'certificate' && !certWithExternPsk) return [];
  return preSharedKey.identities.slice(0, MAX_CONSIDERED_IDENTITIES).map(({ identity }) => {
    const reference = referenceOf(identity);
    return { identity, ...(reference === undefined ? {} : { reference }) };
  });
}

/** The QKD key that an identity names, if it is an imported one of ours. */
function referenceOf(identity: Uint8Array): QkdKeyReference | undefined {
  try {
    const imported = decodeImportedIdentity(identity);
    if (imported.targetProtocol !== TARGET_PROTOCOL_TLS13) return undefined;
    return decodeQkdKeyReference(imported.externalIdentity);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** `qkd_psk` says `key` exactly when there is an identity that names one. */
function expectConsistentOffer({ hello }: AcceptedClientHello, { offer }: QkdOffer): void {
  const identities = hello.extensions.preSharedKey?.identities ?? [];
  const namesKey = identities.some(({ identity }) => referenceOf(identity) !== undefined);
  if ((offer === 'key') !== namesKey || (offer === 'ticket' && identities.length === 0)) {
    throw illegalParameter('qkd_psk disagrees with pre_shared_key');
  }
}

/** Finds the identity of our key among those looked at, and verifies its binder. The key is wiped. */
function selectPsk(
  { hello, message, suite, transcript }: AcceptedClientHello,
  psk: Extract<PskDecision, { action: 'use' }>['psk'],
  consideredIdentities: number,
  certWithExternPsk: boolean,
  scope: SecretScope,
): SelectedPsk | undefined {
  scope.own(psk.secret);
  try {
    if (psk.kind === 'resumption') throw new TlsMisuseError('tickets are not accepted yet');
    if (psk.kind === 'plain' && suite.hash !== 'sha256') return undefined;
    const ours: OfferedIdentity =
      psk.kind === 'qkd'
        ? importQkdPsk(psk, suite.hash, scope)
        : {
            kind: 'external',
            hash: 'sha256',
            identity: psk.identity,
            earlySecret: scope.own(EarlySecret.of('sha256', psk.secret)),
          };
    const { identities, binders } = hello.extensions.preSharedKey ?? { identities: [], binders: [] };
    const index = identities
      .slice(0, consideredIdentities)
      .findIndex(({ identity }) => bytesEqual(identity, ours.identity));
    const binder = binders[index];
    if (binder === undefined) return undefined;
    const binderKey = scope.own(ours.earlySecret.binderKey(ours.kind));
    const truncated = message.bytes.subarray(0, hello.truncatedLengthBytes);
    const verified = verifyPskBinder(suite.hash, binderKey, transcript.snapshotWith(truncated), binder);
    binderKey.wipe();
    if (!verified) throw badBinder(certWithExternPsk);
    return {
      index,
      kind: psk.kind,
      earlySecret: ours.earlySecret,
      certWithExternPsk,
      reference: psk.kind === 'qkd' ? psk.reference : undefined,
      context: psk.kind === 'qkd' ? psk.context : undefined,
    };
  } finally {
    psk.secret.wipe();
  }
}

/** Without a PSK only certificates are left. One alert for every reason: it tells a stranger nothing of our identities. */
function expectCertificatesAllowed({ auth }: ServerEngineOptions): void {
  if (auth === 'psk') throw handshakeFailure('no PSK in common');
}
