/** Which PSK a server uses, if any: asked of the owner of the keys, then proved by its binder (RFC 8446, 4.2.11; RFC 9258; RFC 9973). */
import { bytesEqual } from '../bytes/index.ts';
import type { HashName } from '../crypto/index.ts';
import type {
  OfferedPsk,
  PskDecision,
  QkdKeyReference,
  QkdOffer,
  QkdPskContext,
  QkdResult,
  ServerEngineOptions,
} from '../engine-types.ts';
import { EarlySecret, verifyPskBinder } from '../key-schedule/index.ts';
import { PskKeyExchangeMode, type ReceivedClientHello } from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';
import { importQkdPsk, type OfferedIdentity, ticketIdentity } from './client-offer.ts';
import { badBinder, handshakeFailure, illegalParameter, unusablePsk } from './faults.ts';
import { referenceOf } from './qkd-import.ts';
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
  readonly kind: 'qkd' | 'plain' | 'resumption';
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
  const outcome = { qkdOffer, qkdFeatures: qkdPsk?.features ?? 0 };
  const resultOf = (result: QkdResult) =>
    qkdOffer === undefined ? undefined : qkdOffer.offer === 'none' ? 'not_offered' : result;

  let candidates = offered;
  for (;;) {
    if (candidates.length === 0 && !options.qkd) {
      expectCertificatesAllowed(options, offered);
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
        expectUsablePsk(decision.psk, options, certWithExternPsk);
        const selected = selectPsk(accepted, decision.psk, certWithExternPsk, scope);
        if (selected !== undefined) {
          if (selected.kind === 'resumption') expectTicketAllowed(hello, qkdOffer);
          return { ...outcome, selected, qkdResult: resultOf(resultOfUse[selected.kind]), refused: false };
        }
        // The client meant another key, context or hash than ours: as if it had offered nothing.
        candidates = [];
        break;
      }
      case 'continue':
        expectCertificatesAllowed(options, offered);
        return { ...outcome, selected: undefined, qkdResult: resultOf(decision.result), refused: false };
      case 'refuse':
        return { ...outcome, selected: undefined, qkdResult: resultOf(decision.result), refused: true };
    }
  }
}

/** A plain PSK is nothing that `qkd_psk` speaks of. */
const resultOfUse = { qkd: 'used', resumption: 'resumed', plain: 'unavailable' } as const;

/**
 * The identities to look at. A PSK never weakens authentication: where
 * certificates are asked for, external PSKs without extension 33 are not there.
 * What may be a ticket is, if its owner is to be asked.
 */
function eligiblePsks(
  { hello }: AcceptedClientHello,
  { auth, acceptTickets }: ServerEngineOptions,
  certWithExternPsk: boolean,
): OfferedPsk[] {
  const { preSharedKey, pskKeyExchangeModes } = hello.extensions;
  if (preSharedKey === undefined || !pskKeyExchangeModes?.includes(PskKeyExchangeMode.pskDheKe)) return [];
  const onlyTickets = auth === 'certificate' && !certWithExternPsk;
  if (onlyTickets && !acceptTickets) return [];
  return preSharedKey.identities.slice(0, MAX_CONSIDERED_IDENTITIES).flatMap(({ identity }) => {
    const reference = referenceOf(identity);
    if (reference === undefined) return [{ identity }];
    return onlyTickets ? [] : [{ identity, reference }];
  });
}

/** What the owner of the keys may decide: a key beside certificates or instead of them, a ticket where tickets are looked at. */
function expectUsablePsk(
  { kind }: UsablePsk,
  { auth, acceptTickets }: ServerEngineOptions,
  certWithExternPsk: boolean,
): void {
  if (kind === 'resumption') {
    if (!acceptTickets) throw new TlsMisuseError('a ticket is used, but acceptTickets is off');
  } else if (auth === 'certificate' && !certWithExternPsk) {
    throw new TlsMisuseError('a PSK is used without extension 33, where certificates are asked for');
  }
}

/** RFC 9973, 5.1: all PSKs beside extension 33 are external; and qkd_psk must have said `ticket`. */
function expectTicketAllowed({ extensions }: ReceivedClientHello, qkdOffer: QkdOffer | undefined): void {
  if (extensions.certWithExternPsk) throw illegalParameter('a ticket beside tls_cert_with_extern_psk');
  if (qkdOffer !== undefined && qkdOffer.offer !== 'ticket')
    throw illegalParameter('qkd_psk disagrees with the ticket');
}

type UsablePsk = Extract<PskDecision, { action: 'use' }>['psk'];

/** Finds the identity of our key among those looked at, and verifies its binder. */
function selectPsk(
  { hello, message, suite, transcript }: AcceptedClientHello,
  psk: UsablePsk,
  certWithExternPsk: boolean,
  scope: SecretScope,
): SelectedPsk | undefined {
  const ours = identityOf(psk, suite.hash, scope);
  if (ours.hash !== suite.hash) return undefined;
  const { identities, binders } = hello.extensions.preSharedKey ?? { identities: [], binders: [] };
  const index = identities
    .slice(0, MAX_CONSIDERED_IDENTITIES)
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
}

function identityOf(psk: UsablePsk, hash: HashName, scope: SecretScope): OfferedIdentity {
  switch (psk.kind) {
    case 'qkd':
      return importQkdPsk(psk, hash, scope);
    case 'plain': {
      const earlySecret = scope.own(EarlySecret.of('sha256', psk.secret));
      return { kind: 'external', hash: 'sha256', identity: psk.identity, earlySecret };
    }
    case 'resumption':
      return ticketIdentity(psk, scope);
  }
}

/** Without a PSK only certificates are left. */
function expectCertificatesAllowed({ auth }: ServerEngineOptions, offered: readonly OfferedPsk[]): void {
  if (auth === 'psk') throw offered.length > 0 ? unusablePsk('no PSK in common') : handshakeFailure('no PSK offered');
}
