/**
 * What a service demands of a connection, what a handshake gave, and whether
 * that is enough. Pure: every decision about modes is made here and nowhere
 * else. (docs: the protocol's chapter "Policy and outcomes".)
 */
import type { HandshakeSummary, NoOfferReason, QkdOffer } from '../tls-ext/index.ts';

/** The minimum that a service demands. QKD is always used where there is a key. */
export type Requirement = 'qkd-and-pqc' | 'qkd' | 'pqc' | 'qkd-or-pqc';
export const REQUIREMENTS: readonly Requirement[] = ['qkd-and-pqc', 'qkd', 'pqc', 'qkd-or-pqc'];
export const DEFAULT_REQUIREMENT: Requirement = 'qkd-or-pqc';
/** How long a connection that needs a key waits for one before it is refused. */
export const DEFAULT_KEY_WAIT_MS = 5_000;

/** How a connection is protected. */
export type AdmittedMode = 'qkd-and-pqc' | 'qkd' | 'pqc' | 'classical';
export type ConnectionMode = AdmittedMode | 'refused';

/** Why a connection has no QKD key. The last three are seen in logs only. */
export type FallbackReason =
  | NoOfferReason
  | 'unavailable'
  | 'ticket_refused'
  | 'reference_unavailable'
  | 'peer_without_qkd';

export interface PolicySettings {
  readonly require: Requirement;
  /** What made `require` stricter than it was written, for messages. */
  readonly because?: string;
  /** Admits `classical` where `require` is `qkd-or-pqc`; a stricter `require` stays the minimum. */
  readonly unsafeAllowClassical: boolean;
  readonly keyWaitMs: number;
}

/** What policy looks at in a completed handshake. */
export type HandshakeFacts = Pick<HandshakeSummary, 'psk' | 'qkdOffer' | 'qkdResult'> & {
  /** Whether the negotiated group withstands a quantum computer. */
  readonly groupIsPostQuantum: boolean;
};

/** `reason` is present exactly when there is no QKD key in the connection. */
export type PolicyVerdict =
  | { readonly mode: AdmittedMode; readonly reason?: FallbackReason }
  | {
      readonly mode: 'refused';
      /** The mode that the handshake would have given. */
      readonly offered: AdmittedMode;
      readonly reason?: FallbackReason;
      /** For a human, one line. */
      readonly explanation: string;
    };

/** Whether a service must not do without a QKD key. */
export function needsQkd(require: Requirement): boolean {
  return require === 'qkd-and-pqc' || require === 'qkd';
}

/** Whether a service must not do without post-quantum key exchange. */
export function needsPqc(require: Requirement): boolean {
  return require === 'qkd-and-pqc' || require === 'pqc';
}

/** The least requirement that meets both: the two ends' settings combined. */
export function stricterRequirement(a: Requirement, b: Requirement): Requirement {
  const qkd = needsQkd(a) || needsQkd(b);
  const pqc = needsPqc(a) || needsPqc(b);
  if (qkd) return pqc ? 'qkd-and-pqc' : 'qkd';
  return pqc ? 'pqc' : 'qkd-or-pqc';
}

/** `settings` with QKD demanded on top of what they demand. */
export function demandQkd(settings: PolicySettings, because: string): PolicySettings {
  return { ...settings, require: stricterRequirement(settings.require, 'qkd'), because };
}

/**
 * Whether the key schedule holds a QKD key. Plain PSKs come from a key manager,
 * and from nowhere else; tickets are given out and kept only where there is a
 * QKD key behind them.
 */
function holdsQkdKey({ psk }: Pick<HandshakeFacts, 'psk'>): boolean {
  return psk !== 'none';
}

/** The mode of a handshake, whatever is demanded. */
export function modeOf(facts: Pick<HandshakeFacts, 'psk' | 'groupIsPostQuantum'>): AdmittedMode {
  if (holdsQkdKey(facts)) return facts.groupIsPostQuantum ? 'qkd-and-pqc' : 'qkd';
  return facts.groupIsPostQuantum ? 'pqc' : 'classical';
}

/** Whether `mode` meets what the service demands. */
export function admits(settings: PolicySettings, mode: AdmittedMode): boolean {
  switch (settings.require) {
    case 'qkd-and-pqc':
      return mode === 'qkd-and-pqc';
    case 'qkd':
      return mode === 'qkd' || mode === 'qkd-and-pqc';
    case 'pqc':
      return mode === 'pqc' || mode === 'qkd-and-pqc';
    case 'qkd-or-pqc':
      return mode !== 'classical' || settings.unsafeAllowClassical;
  }
}

/** Why there is no QKD key in a handshake, as both ends know it; `undefined` if there is one. */
export function fallbackReason(facts: HandshakeFacts): FallbackReason | undefined {
  if (holdsQkdKey(facts)) return undefined;
  if (facts.qkdOffer === undefined || facts.qkdResult === undefined) return 'peer_without_qkd';
  switch (facts.qkdOffer.offer) {
    case 'none':
      return facts.qkdOffer.reason;
    case 'ticket':
      return facts.qkdResult === 'policy' ? 'policy' : 'ticket_refused';
    case 'key':
      return facts.qkdResult === 'policy' ? 'policy' : 'reference_unavailable';
  }
}

/** Judges a completed handshake, before any application byte passes. */
export function judgeHandshake(settings: PolicySettings, facts: HandshakeFacts): PolicyVerdict {
  const mode = modeOf(facts);
  const reason = fallbackReason(facts);
  const because = reason === undefined ? {} : { reason };
  if (admits(settings, mode)) return { mode, ...because };
  return { mode: 'refused', offered: mode, ...because, explanation: explainRefusal(settings, mode, reason) };
}

/** What a client does before it dials: go on with what it has, or wait for a key. */
export function clientPlan(settings: PolicySettings, offer: QkdOffer): 'dial' | 'wait' {
  return offer.offer === 'none' && needsQkd(settings.require) ? 'wait' : 'dial';
}

/** A client's refusal of its own: it waited for a key, and none came. */
export function refuseWithoutKey(settings: PolicySettings, reason: FallbackReason): PolicyVerdict {
  return {
    mode: 'refused',
    offered: 'pqc',
    reason,
    explanation: `${explainRefusal(settings, 'pqc', reason)}; waited ${settings.keyWaitMs} ms for a key`,
  };
}

/** What a server does with a ClientHello for which it has no QKD key. */
export function serverWithoutKey(
  settings: PolicySettings,
  why: 'not-offered' | 'unavailable' | 'policy',
): { readonly action: 'continue' | 'refuse'; readonly result: 'unavailable' | 'policy' } {
  const action = needsQkd(settings.require) ? 'refuse' : 'continue';
  return { action, result: why === 'unavailable' ? 'unavailable' : 'policy' };
}

const EXPLANATIONS: Readonly<Record<FallbackReason, string>> = {
  stream_opening: 'no key stream stands between the two key managers; if it lasts, the log says why',
  channel_down: 'the key channel to the other proxy is down',
  pool_empty: 'no agreed key is left; the QKD link delivers none, or less than is used',
  kme_unreachable: 'the key manager of the client side does not answer',
  peer_kme_unreachable: 'the key manager of the server side does not answer, or opens no key stream; see the log there',
  key_mismatch: 'the two key managers delivered different keys under one ID',
  budget: 'the key budget of this peer is used up',
  policy: 'one side has no key manager configured, or its policy forbids the key',
  unavailable: 'the other side has no such key',
  ticket_refused: 'the other side did not accept the ticket',
  reference_unavailable: 'the other side does not have the key that was offered',
  peer_without_qkd: 'the other side does not speak the QKD extension',
};

/** A reason in words, for messages. */
export function explainReason(reason: FallbackReason): string {
  return EXPLANATIONS[reason];
}

function explainRefusal(settings: PolicySettings, mode: AdmittedMode, reason: FallbackReason | undefined): string {
  const because = settings.because === undefined ? '' : ` (${settings.because})`;
  const demand = `the service requires ${settings.require}${because}, and the connection would have been ${mode}`;
  return reason === undefined ? demand : `${demand}: ${explainReason(reason)}`;
}
