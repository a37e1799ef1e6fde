/** What `qstunnel doctor peer` finds out, as it prints it with `--json`. */
import type { QkdResult } from '../../tls-ext/index.ts';
import type { CertificateReport, TrustReport, UnreadableCertificate } from './certificate-report.ts';
import type { RequirementVerdict } from './peer-policy.ts';

/** How a connection without a key ends that needs one. */
export const KEY_WAIT_TEXT = 'until then it waits key-wait, then is refused';

export interface OfferAnswer {
  readonly name: string;
  /** Null: no answer in time. */
  readonly accepted: boolean | null;
}

/** What became of an offer of a pre-shared key that nobody knows. */
export type UnknownPskAnswer =
  /** The handshake went on without it. */
  | 'ignored'
  /** Refused with an alert that names the cause. */
  | `refused: ${string}`
  /** No answer in time, or not asked. */
  | 'unknown';

export interface PeerReport {
  /** TLS 1.3 stands, a certificate that was to be judged is trusted, and the policy that was asked about admits the peer. */
  readonly ok: boolean;
  readonly address: string;
  /** One line: what is there. */
  readonly summary: string;
  /** Null: could not be found out. */
  readonly versions: Readonly<Record<string, boolean | null>>;
  /** In our order of preference. */
  readonly groups: readonly (OfferAnswer & { readonly postQuantum: boolean })[];
  /** The server's choice of all that we offer. */
  readonly chosenGroup: string | null;
  readonly cipherSuites: readonly OfferAnswer[];
  readonly chosenCipherSuite: string | null;
  /** Offered one at a time. `ignored`: the server goes on without any. */
  readonly alpn: readonly { readonly name: string; readonly answer: 'accepted' | 'refused' | 'ignored' | 'unknown' }[];
  readonly psk: {
    /** Alone, as between stock peers (`auth: psk`). */
    readonly unknownIdentity: UnknownPskAnswer;
    /** Beside a certificate (RFC 9973). */
    readonly besideCertificate: UnknownPskAnswer;
    readonly tickets: number;
    readonly ticketLifetimeSeconds: number | null;
    /** A ticket was taken with `psk_dhe_ke`, the only mode that we use. Null: there was none to try. */
    readonly resumption: boolean | null;
  };
  readonly qkdPsk: {
    readonly spoken: boolean;
    /** What it answered to an offer without a key. */
    readonly answer: QkdResult | null;
    /** It refuses connections without a key. */
    readonly demandsKey: boolean;
    /** Null: it did not come so far. */
    readonly rekey: boolean | null;
  };
  /** `none`: no objection to a client without one. */
  readonly clientCertificate: 'none' | 'required' | 'accepted' | `refused: ${string}` | 'unknown';
  readonly certificates: readonly (CertificateReport | UnreadableCertificate)[];
  /** Null: no --ca was given. */
  readonly trust: TrustReport | null;
  readonly policy: readonly RequirementVerdict[];
  /** What to look at first, one line each. */
  readonly problems: readonly string[];
}
