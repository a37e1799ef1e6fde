/** Judges a peer's certificate: what certs/ found out, as the engine's verdict and the right alert. */
import { type ChainRejection, type TrustAnchors, validateChain } from '../certs/index.ts';
import { Alert, type PeerVerdict, type QkdPskContext } from '../tls-ext/index.ts';
import { ProxyError, ProxyErrorCode } from './errors.ts';

export type RequireAuth = 'any' | 'pq';

/** What a service asks of its peers. */
export interface PeerRules {
  readonly trust: TrustAnchors;
  /** SAE IDs that are admitted; a certificate must name one. */
  readonly peerSae: readonly string[];
  /** The peer's role in TLS. */
  readonly peerRole: 'client' | 'server';
  /** Our own SAE ID: the other role in the context of a key. */
  readonly ownSae: string;
  /** `pq`: every key in the peer's chain must be ML-DSA's. Default `any`. */
  readonly requireAuth?: RequireAuth;
  /** Host name or IP address that a server's certificate must name as well. */
  readonly verifyHost?: string;
}

/** The verdict, and on success which admitted SAE the peer is. */
export type PeerJudgement =
  | {
      readonly verdict: Extract<PeerVerdict, { ok: true }>;
      readonly sae: string;
      readonly notAfterMs: number;
      /** By which algorithms it proved who it is, for the log. */
      readonly authentication: string;
    }
  | { readonly verdict: Extract<PeerVerdict, { ok: false }> };

/** The alert for each way in which a chain can be refused (RFC 8446, 6.2). */
const ALERTS: Readonly<Record<ChainRejection, Alert>> = {
  empty: Alert.certificateRequired,
  malformed: Alert.badCertificate,
  'too-large': Alert.badCertificate,
  unsupported: Alert.unsupportedCertificate,
  'unknown-ca': Alert.unknownCa,
  'bad-signature': Alert.badCertificate,
  expired: Alert.certificateExpired,
  'not-yet-valid': Alert.certificateExpired,
  'not-ca': Alert.unknownCa,
  'wrong-purpose': Alert.unsupportedCertificate,
  'wrong-name': Alert.badCertificate,
  'wrong-sae': Alert.badCertificate,
};

/**
 * Judges a chain. With a QKD key in use (`context`), the certificate must name
 * the SAE of the peer's role in it (the TLS client is the drawer), and ours
 * must be the other: else a key agreed with one peer could be passed off as
 * agreed with another. Without one it must name exactly one admitted SAE, which
 * the key channel and rekeys then go by.
 */
export function judgePeer(
  rules: PeerRules,
  chainDer: readonly Uint8Array[],
  context: QkdPskContext | undefined,
  nowMs: number,
): PeerJudgement {
  const chain = validateChain({
    chainDer,
    trust: rules.trust,
    nowMs,
    purpose: rules.peerRole,
    expectedSaeIds: rules.peerSae,
    ...(rules.verifyHost === undefined ? {} : { verifyHost: rules.verifyHost }),
  });
  if (!chain.ok) return refusal(ALERTS[chain.reason], chain.error);

  const { algorithm: authentication, postQuantum } = chain.authentication;
  if (rules.requireAuth === 'pq' && !postQuantum) {
    return refusal(
      Alert.insufficientSecurity,
      new ProxyError(
        ProxyErrorCode.weakAuthentication,
        `the peer's certificates are ${authentication}, and require-auth: pq demands ML-DSA in all of them`,
      ),
    );
  }

  const admitted = chain.saeIds.filter((sae) => rules.peerSae.includes(sae) && sae !== rules.ownSae);
  const [ofPeer, ours] =
    rules.peerRole === 'client' ? [context?.drawer, context?.answerer] : [context?.answerer, context?.drawer];
  if (context === undefined && admitted.length > 1) {
    // Which of them keys and rekeys are to be from must not hang on an order.
    const error = `the certificate names ${admitted.join(', ')}, all of them admitted, and no key says which is meant`;
    return refusal(Alert.badCertificate, new ProxyError(ProxyErrorCode.peerSae, error));
  }
  const sae = context === undefined ? admitted[0] : admitted.find((one) => one === ofPeer);
  if (sae === undefined || (context !== undefined && ours !== rules.ownSae)) {
    const names = chain.saeIds.join(', ');
    const wanted = context === undefined ? 'another SAE than ours' : `the key's ${ofPeer}`;
    return refusal(
      Alert.badCertificate,
      new ProxyError(ProxyErrorCode.peerSae, `the certificate names ${names}, it had to name ${wanted}`),
    );
  }
  return {
    verdict: { ok: true, publicKeySpki: chain.publicKeySpki },
    sae,
    notAfterMs: chain.notAfterMs,
    authentication,
  };
}

function refusal(alert: Alert, error: Error): PeerJudgement {
  return { verdict: { ok: false, alert, error } };
}
