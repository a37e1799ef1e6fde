/** What is varied between our engine and a peer: the axes of the interoperation matrix and what their values exclude. */
import { cipherSuites, namedGroups, signatureSchemes } from '../../tls-ext/index.ts';

/** What else happens in a handshake, or after it. Each is one run; "ours" and "theirs" say which end does it. */
export const featureDescriptions = {
  certificate: "the server's certificate alone",
  'client-certificate': 'certificates of both ends',
  psk: 'a plain external PSK alone (psk_dhe_ke)',
  'imported-psk': 'an external PSK imported by RFC 9258, alone',
  'psk-certificate': 'a plain external PSK beside a certificate (RFC 9973, extension 33)',
  'imported-psk-certificate': 'an imported PSK beside a certificate',
  resumption: 'a second connection by a ticket of the first',
  hrr: 'HelloRetryRequest for another group',
  'hrr-cookie': 'HelloRetryRequest with a cookie',
  'key-update-ours': 'KeyUpdate by us',
  'key-update-theirs': 'KeyUpdate by the peer, answered by us',
  'large-transfer': '1 MiB each way (64 KiB with terminal programs that are slow at it)',
  'half-close-ours': 'our close_notify, and data from the peer after it',
  'half-close-theirs': "the peer's close_notify, and data from us after it",
} as const;
export type Feature = keyof typeof featureDescriptions;

/** Features in which nobody shows a certificate, so that signatures play no part. */
const WITHOUT_CERTIFICATE: readonly Feature[] = ['psk', 'imported-psk'];
/** Plain external PSKs have no hash of their own: SHA-256 is theirs (RFC 9846, "Pre-Shared Key Extension"). */
const SHA256_ONLY: readonly Feature[] = ['psk', 'psk-certificate'];

export const NO_SIGNATURE = 'none';

/** One value of each axis; groups, suites and signature schemes by IANA's names. */
export interface Choice {
  readonly group: string;
  readonly suite: string;
  readonly signature: string;
  readonly feature: Feature;
}

export type Axis = keyof Choice;
export type AxisValues = { readonly [A in Axis]: readonly Choice[A][] };

export const axisNames: readonly Axis[] = ['group', 'suite', 'signature', 'feature'];

/** Every value that our engine has. */
export const allValues: AxisValues = {
  group: namedGroups.map(({ name }) => name),
  suite: cipherSuites.map(({ name }) => name),
  signature: signatureSchemes.map(({ name }) => name),
  feature: Object.keys(featureDescriptions) as Feature[],
};

/** Whether the values of a choice go together at all. */
export function isPossible({ suite, signature, feature }: Choice): boolean {
  if (WITHOUT_CERTIFICATE.includes(feature) !== (signature === NO_SIGNATURE)) return false;
  return !SHA256_ONLY.includes(feature) || suite.endsWith('_SHA256');
}

const shortFeatures: Readonly<Record<Feature, string>> = {
  certificate: 'cert',
  'client-certificate': 'client',
  psk: 'psk',
  'imported-psk': 'imp',
  'psk-certificate': 'psk+cert',
  'imported-psk-certificate': 'imp+cert',
  resumption: 'resume',
  hrr: 'hrr',
  'hrr-cookie': 'cookie',
  'key-update-ours': 'ku-ours',
  'key-update-theirs': 'ku-theirs',
  'large-transfer': 'large',
  'half-close-ours': 'half-ours',
  'half-close-theirs': 'half-theirs',
};

/** A value as a table's heading. */
export function shortName(axis: Axis, value: string): string {
  if (axis === 'feature') return shortFeatures[value as Feature];
  return value
    .replace(/^TLS_/, '')
    .replace('ecdsa_secp256r1_sha256', 'P-256')
    .replace('ecdsa_secp384r1_sha384', 'P-384')
    .replace(/^rsa_pss_(\w+)_sha/, '$1-')
    .replace(/_(?:POLY1305_)?SHA\d+$/, '')
    .replaceAll('_', '-');
}

export function describeChoice({ group, suite, signature, feature }: Choice): string {
  return [feature, group, suite.replace(/^TLS_/, ''), ...(signature === NO_SIGNATURE ? [] : [signature])].join(', ');
}

export function codePointOf(
  values: readonly { readonly name: string; readonly codePoint: number }[],
  name: string,
): number {
  const found = values.find((value) => value.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found.codePoint;
}
