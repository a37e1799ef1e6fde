/** Which extensions exist and which message each may stand in. */

/** ExtensionType code points (RFC 9846 and the RFCs in the table below). */
export const ExtensionType = {
  serverName: 0,
  maxFragmentLength: 1,
  statusRequest: 5,
  supportedGroups: 10,
  signatureAlgorithms: 13,
  useSrtp: 14,
  heartbeat: 15,
  alpn: 16,
  signedCertificateTimestamp: 18,
  clientCertificateType: 19,
  serverCertificateType: 20,
  padding: 21,
  compressCertificate: 27,
  recordSizeLimit: 28,
  certWithExternPsk: 33,
  delegatedCredential: 34,
  preSharedKey: 41,
  earlyData: 42,
  supportedVersions: 43,
  cookie: 44,
  pskKeyExchangeModes: 45,
  certificateAuthorities: 47,
  oidFilters: 48,
  postHandshakeAuth: 49,
  signatureAlgorithmsCert: 50,
  keyShare: 51,
  ticketRequest: 58,
  /** Private use (RFC 8446, 11); a setting, this is its default. */
  qkdPsk: 0xff51,
} as const;
export type ExtensionType = (typeof ExtensionType)[keyof typeof ExtensionType];

/** The messages that have extensions, by the abbreviations of RFC 9846's table. */
export type ExtensionMessage = 'CH' | 'SH' | 'HRR' | 'EE' | 'CR' | 'CT' | 'NST';

/**
 * RFC 9846, section "Extensions" (RFC 8446, 4.2), its table quoted as it
 * stands, with the rows of other RFCs marked. An extension that we recognize
 * and that stands in another message is `illegal_parameter`. `max_fragment_length`
 * and `signed_certificate_timestamp` are RFC 8446's (9846 no longer lists them).
 */
const table: readonly (readonly [ExtensionType, string])[] = [
  [ExtensionType.serverName, 'CH, EE'],
  [ExtensionType.maxFragmentLength, 'CH, EE'],
  [ExtensionType.statusRequest, 'CH, CR, CT'],
  [ExtensionType.supportedGroups, 'CH, EE'],
  [ExtensionType.signatureAlgorithms, 'CH, CR'],
  [ExtensionType.useSrtp, 'CH, EE'],
  [ExtensionType.heartbeat, 'CH, EE'],
  [ExtensionType.alpn, 'CH, EE'],
  [ExtensionType.signedCertificateTimestamp, 'CH, CR, CT'],
  [ExtensionType.clientCertificateType, 'CH, EE'],
  [ExtensionType.serverCertificateType, 'CH, EE'],
  [ExtensionType.padding, 'CH'],
  [ExtensionType.compressCertificate, 'CH, CR'],
  [ExtensionType.recordSizeLimit, 'CH, EE'],
  [ExtensionType.certWithExternPsk, 'CH, SH'], // RFC 9973
  [ExtensionType.delegatedCredential, 'CH, CR, CT'],
  [ExtensionType.preSharedKey, 'CH, SH'],
  [ExtensionType.earlyData, 'CH, EE, NST'],
  [ExtensionType.supportedVersions, 'CH, SH, HRR'],
  [ExtensionType.cookie, 'CH, HRR'],
  [ExtensionType.pskKeyExchangeModes, 'CH'],
  [ExtensionType.certificateAuthorities, 'CH, CR'],
  [ExtensionType.oidFilters, 'CR'],
  [ExtensionType.postHandshakeAuth, 'CH'],
  [ExtensionType.signatureAlgorithmsCert, 'CH, CR'],
  [ExtensionType.keyShare, 'CH, SH, HRR'],
  [ExtensionType.ticketRequest, 'CH, EE'], // RFC 9149
  [ExtensionType.qkdPsk, 'CH, EE'], // draft-qstunnel-tls-qkd-psk
];

const allowed = new Map<number, ReadonlySet<string>>(
  table.map(([type, messages]) => [type, new Set(messages.split(', '))]),
);
const names = new Map<number, string>(Object.entries(ExtensionType).map(([name, code]) => [code, name]));

/** Whether the table allows a (known) extension in this message. Unknown ones are allowed anywhere. */
export function extensionAllowedIn(type: number, message: ExtensionMessage): boolean {
  return allowed.get(type)?.has(message) ?? true;
}

/** Name of an extension for error texts, e.g. `keyShare`. */
export function extensionName(type: number): string {
  return names.get(type) ?? `extension ${type}`;
}

/** Whether a 16-bit code point is one of those reserved by RFC 8701 (0x0A0A, 0x1A1A … 0xFAFA). */
export function isGrease(codePoint: number): boolean {
  return (codePoint & 0x0f0f) === 0x0a0a && codePoint >> 8 === (codePoint & 0xff);
}
