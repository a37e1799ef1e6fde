/** Where our client and OpenSSL's answer the same change of a server's messages differently. */
import { type Difference, explainer } from './difference.ts';

/** OpenSSL goes on; something that was left out of the script may be wanting later. */
const goesOn = /^data|^nothing: (?:undefined|ECONNRESET)/;

/** One end goes on where the other refuses, or waits for more. */
const decisions: readonly Difference[] = [
  {
    ours: /^unsupported_extension: (?:extension \d+|certWithExternPsk|heartbeat|recordSizeLimit|(?:client|server)CertificateType) (?:was not asked for|in a certificate, not asked for)/,
    openssl: goesOn,
    why: 'RFC 8446, 4.2: an extension that was not asked for is unsupported_extension; OpenSSL passes over those that it does not know',
  },
  {
    ours: /^illegal_parameter: (?:ticketRequest|oidFilters|recordSizeLimit|certWithExternPsk|qkdPsk|delegatedCredential|compressCertificate) may not stand in this message|^illegal_parameter: qkd_psk|^illegal_parameter: .*stands twice/,
    openssl: goesOn,
    why: 'RFC 8446, 4.2: an extension in a message that is not for it is illegal_parameter, as is a second one of a type; OpenSSL (3.0: also compress_certificate) does not know these',
  },
  {
    ours: /^decode_error: (?:\d+ bytes wanted|\d+ trailing bytes|vector of \d+ bytes|more than \d+)|^illegal_parameter: record_size_limit/,
    openssl: goesOn,
    why: 'we decode each extension that we know of, also those that OpenSSL passes over: supported_groups in EncryptedExtensions, signature_algorithms_cert and certificate_authorities beyond need, ticket_request, record_size_limit',
  },
  {
    ours: /^protocol_version: ServerHello with another legacy_version/,
    openssl: goesOn,
    why: 'legacy_version is fixed to 0x0303 (RFC 9846, "Server Hello"); OpenSSL looks at supported_versions alone',
  },
  {
    ours: /^protocol_version: the server does not speak TLS 1\.3 .*HelloRetryRequest/,
    openssl: goesOn,
    why: 'RFC 8446, 4.1.4: supported_versions must stand in HelloRetryRequest; OpenSSL 3.0 takes one without',
  },
  {
    ours: /^unexpected_message: handshake message 0 in state/,
    openssl: goesOn,
    why: "message 0 was TLS 1.2's HelloRequest and is none of TLS 1.3; OpenSSL's clients pass over it in every version",
  },
  {
    ours: /^unexpected_message: (?:change_cipher_spec outside of a handshake|malformed change_cipher_spec|empty record)/,
    openssl: goesOn,
    why: 'RFC 8446, 5 and 5.1: change_cipher_spec is one byte, and not after Finished; no handshake record is empty. OpenSSL passes over such records',
  },
  {
    ours: /^data: .*\[.*(?:HelloRetryRequest|ServerHello) behind (?:a plaintext record|change_cipher_spec|another record)/,
    openssl: /^unexpected_message: ERR_SSL_UNEXPECTED_MESSAGE/,
    why: 'RFC 8446, 5: change_cipher_spec is dropped from the first ClientHello on; OpenSSL takes none before the first ServerHello',
  },
  {
    ours: /^data: .*\[.*NewSessionTicket with (?:an extension more|an empty extension more|an extension of another type|other)/,
    openssl: /BAD_EXTENSION$/,
    why: 'RFC 8446, 4.6.1: extensions of NewSessionTicket that we don’t know are ignored; OpenSSL knows some of TLS 1.2',
  },
  {
    ours: /^(?:data|nothing): .*\[.*CertificateRequest with/,
    openssl: /BAD_EXTENSION$/,
    why: 'content of extensions of CertificateRequest that we have no use for, and so don’t read: compress_certificate, signed_certificate_timestamp',
  },
  {
    ours: /^data: .*\[.*behind an alert/,
    openssl: /^nothing: ERR_SSL_TLSV1_ALERT_USER_CANCELLED/,
    why: 'user_canceled announces a close_notify (RFC 8446, 6.1); we wait for that, OpenSSL does unless its level is fatal',
  },
  {
    ours: /^nothing: the peer sent /,
    openssl: /./,
    why: 'RFC 8446, 6.2: an error alert is fatal whatever its level; OpenSSL passes over warnings until it knows that the version is 1.3',
  },
  {
    ours: /^nothing: the connection ended/,
    openssl: /^illegal_parameter: ERR_SSL_EXCESSIVE_MESSAGE_SIZE/,
    why: 'a length beyond any message of its type: we wait for up to 16 KiB of most types, OpenSSL for 64 bytes of a Finished',
  },
  {
    ours: /^nothing: the connection ended/,
    openssl: /^unexpected_message: ERR_SSL_(?:UNEXPECTED_MESSAGE|NOT_ON_RECORD_BOUNDARY|BAD_RECORD_TYPE)/,
    why: 'a message that can’t stand here and is not whole: OpenSSL says so at its header, we when it is',
  },
  {
    ours: /^(?!data|nothing).*\[.*behind an alert/,
    openssl: /^nothing: ERR_SSL_(?:SSLV3|TLSV1|TLSV13)_ALERT/,
    why: 'what we refuse stands in front of the alert; OpenSSL passed over it, for one of the reasons above',
  },
  {
    ours: /^protocol_version: the peer does not speak TLS|^unexpected_message: content type \d+ is none of TLS|^record_overflow: |^unexpected_message: application data before keys/,
    openssl: /^nothing: (?:undefined|ECONNRESET|ERR_SSL_WRONG_VERSION_NUMBER)/,
    why: 'OpenSSL waits for more of a record that can’t be one, or takes its sender for no TLS at all and answers nothing',
  },
  {
    ours: /^decode_error: \w[\w ]* of \d+ bytes/,
    openssl: /^nothing: undefined|^nothing: ECONNRESET/,
    why: 'a message that is too long is refused at its header; OpenSSL’s bound is higher, so that it waits for the rest',
  },
];

/** Both refuse, with alerts that differ. */
const alerts: readonly Difference[] = [
  {
    ours: /^unsupported_extension: /,
    openssl: /BAD_EXTENSION$/,
    why: 'RFC 8446, 4.2: not asked for is unsupported_extension; OpenSSL, which knows the extension, refuses it for its place or its content',
  },
  {
    ours: /^illegal_parameter: \w+ may not stand in this message|^illegal_parameter: certificate status/,
    openssl: /UNSOLICITED_EXTENSION$|BAD_EXTENSION$/,
    why: 'RFC 8446, 4.2: in the wrong message is illegal_parameter, whether it was asked for or not',
  },
  {
    ours: /^illegal_parameter: the server selected a protocol that was not offered/,
    openssl: /^decode_error: ERR_SSL_BAD_EXTENSION/,
    why: 'a name that was not offered is illegal_parameter by RFC 8446, 6.2: the field is in order; OpenSSL calls a list undecodable whose one name is not as long as the list says',
  },
  {
    ours: /^decode_error: /,
    openssl:
      /^illegal_parameter: ERR_SSL_(?:BAD_KEY_SHARE|BAD_KEY_UPDATE|BAD_EXTENSION|EXCESSIVE_MESSAGE_SIZE|SSL3_SESSION_ID_TOO_LONG|INVALID_SESSION_ID|WRONG_SIGNATURE_TYPE)|^unexpected_message: ERR_SSL_(?:UNEXPECTED_MESSAGE|INVALID_ALERT)|^protocol_version: ERR_SSL_WRONG_SSL_VERSION/,
    why: 'RFC 8446, 6.2: a length that is wrong or out of its bounds is decode_error; such a message may be unexpected too',
  },
  {
    ours: /^protocol_version: /,
    openssl:
      /ERR_SSL_(?:MISSING_SUPPORTED_VERSIONS_EXTENSION|NO_CHANGE_FOLLOWING_HRR|UNSUPPORTED_PROTOCOL|WRONG_SSL_VERSION|BAD_LENGTH|LENGTH_MISMATCH|UNEXPECTED_MESSAGE|UNSOLICITED_EXTENSION|BAD_EXTENSION|BAD_KEY_SHARE)$/,
    why: 'a hello of another version is protocol_version, whatever else is wrong with it; OpenSSL reads its extensions first',
  },
  {
    ours: /^missing_extension: ServerHello without key_share|^illegal_parameter: the server selected a PSK without a key exchange/,
    openssl: /NO_SUITABLE_KEY_SHARE$/,
    why: 'RFC 9846, "Pre-Shared Key Extension": without a share beside a PSK illegal_parameter, else missing_extension; OpenSSL has one alert for both, which is another one in 3.5 than in 3.0',
  },
  {
    ours: /^unexpected_message: (?:malformed change_cipher_spec|content type \d+ is none|application data before keys)|^protocol_version: the peer does not speak TLS/,
    openssl: /^(?:illegal_parameter|decode_error|record_overflow|protocol_version|unexpected_message): ERR_SSL_/,
    why: 'RFC 8446, 5: a record that can’t stand here is unexpected_message, and a first byte that is none of TLS is no TLS; OpenSSL judges its version or its length first',
  },
  {
    ours: /^bad_certificate: /,
    openssl: /^(?:internal_error|bad_certificate|decode_error|unsupported_certificate): /,
    why: 'the certificate is judged by this test, not by the engine',
  },
  {
    ours: /^(?:unsupported_certificate|decode_error|decrypt_error|illegal_parameter): .*\[.*Certificate (?:with|cut short)/,
    openssl:
      /^(?:internal_error|bad_certificate|decode_error|unsupported_certificate|illegal_parameter|decrypt_error): /,
    why: 'a certificate that is none: OpenSSL says so at once, we when its list or its signature is looked at',
  },
  {
    // What is wrong in more than one way is refused for what is looked at first.
    ours: /^(?:decode_error|decrypt_error|protocol_version|illegal_parameter|missing_extension|unsupported_extension|handshake_failure|unexpected_message|record_overflow|bad_record_mac|unsupported_certificate): /,
    openssl:
      /ERR_SSL_(?:LENGTH_MISMATCH|BAD_LENGTH|BAD_EXTENSION|UNSOLICITED_EXTENSION|BAD_KEY_SHARE|BAD_KEY_UPDATE|BAD_ECPOINT|POINT_IS_NOT_ON_CURVE|MISSING_SIGALGS_EXTENSION|NO_SUITABLE_KEY_SHARE|EXCESSIVE_MESSAGE_SIZE|DECRYPTION_FAILED_OR_BAD_RECORD_MAC|WRONG_VERSION_NUMBER|BAD_RECORD_TYPE|DATA_LENGTH_TOO_LONG|PACKET_LENGTH_TOO_LONG|UNEXPECTED_MESSAGE|UNEXPECTED_RECORD|NOT_ON_RECORD_BOUNDARY|INVALID_ALERT|INVALID_SESSION_ID|SSL3_SESSION_ID_TOO_LONG|WRONG_SIGNATURE_TYPE|WRONG_CURVE|PROVIDER_SIGNATURE_FAILURE|BAD_SIGNATURE|DIGEST_CHECK_FAILED|BAD_DIGEST_LENGTH|HEADER_TOO_LONG|TOO_LONG|TYPE_NOT_PRIMITIVE|WRONG_TAG|UNSUPPORTED_PROTOCOL|BAD_PROTOCOL_VERSION_NUMBER|NO_CHANGE_FOLLOWING_HRR|INVALID_CCS_MESSAGE|DECODE_ERROR|INVALID_OBJECT_ENCODING|WRONG_CIPHER_RETURNED|UNKNOWN_CIPHER_RETURNED|NO_RENEGOTIATION|INVALID_MAX_EARLY_DATA|BAD_PSK|INVALID_COMPRESSION_ALGORITHM)$/,
    why: 'several faults, or one that is a fault in more than one way: each end names what it meets first. We read a message whole before we judge it, and a record when its turn comes',
  },
];

export const differences: readonly Difference[] = [...decisions, ...alerts];
export const explain = explainer(decisions, alerts, /^(?!data|nothing)/);
