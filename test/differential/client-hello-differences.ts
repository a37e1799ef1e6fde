/**
 * Where our server and OpenSSL's answer the same bytes differently, and why that is right or of no matter. Patterns
 * match `OUTCOME: REASON`; ours gives its error's message as reason, OpenSSL its code.
 */
import { type Difference, explainer } from './difference.ts';

const accepted = /^(?:hello|retry) /;

/** One end goes on where the other refuses. */
const decisions: readonly Difference[] = [
  {
    ours: /ClientHello with another legacy_version/,
    openssl: accepted,
    why: 'legacy_version is fixed to 0x0303; OpenSSL looks at supported_versions alone, and so takes any',
  },
  {
    ours: /bytes wanted|trailing bytes|vector of \d+ bytes|entries in a list/,
    openssl: accepted,
    why: 'we decode each extension that we know of, also those that OpenSSL passes over: cookie in a first ClientHello, early_data, status_request, lists longer than any use has for them',
  },
  {
    ours: /stands twice/,
    openssl: accepted,
    why: 'RFC 8446, 4.2: no two extensions of one type; OpenSSL says so only of those that it knows',
  },
  {
    ours: /server_name is not ASCII/,
    openssl: accepted,
    why: 'RFC 6066, 3: HostName is ASCII; OpenSSL wants no zero bytes, and leaves the rest to its caller',
  },
  {
    ours: /a cookie in the first ClientHello/,
    openssl: accepted,
    why: 'RFC 8446, 4.2.2: not in the initial ClientHello; OpenSSL ignores it until it has sent one',
  },
  {
    ours: /early_data without a PSK/,
    openssl: accepted,
    why: 'RFC 8446, 4.2.10: early_data goes with pre_shared_key; OpenSSL without early data ignores it',
  },
  {
    ours: /tls_cert_with_extern_psk/,
    openssl: accepted,
    why: 'RFC 9973: not without pre_shared_key; OpenSSL does not know the extension',
  },
  {
    ours: accepted,
    openssl: /POST_HANDSHAKE_AUTH_ENCODING_ERR|BAD_EXTENSION/,
    why: 'content of extensions that we don’t know (post_handshake_auth, renegotiation_info, ec_point_formats), and so don’t read',
  },
  {
    ours: accepted,
    openssl: /^nothing: ERR_SSL_WRONG_VERSION_NUMBER|^decode_error: ERR_SSL_WRONG_VERSION_NUMBER/,
    why: 'RFC 8446, 5.1: legacy_record_version is ignored; OpenSSL wants its first byte to be 3',
  },
  {
    ours: /^retry /,
    openssl: /MISSING_SIGALGS_EXTENSION|NO_SUITABLE_SIGNATURE_ALGORITHM/,
    why: 'signature_algorithms are needed, and looked at, when a certificate is to be sent: after the second ClientHello',
  },
  {
    ours: /^hello /,
    openssl: /NO_SUITABLE_SIGNATURE_ALGORITHM/,
    why: 'RFC 8446, 4.4.2.2: a server whose chain is signed otherwise than signature_algorithms_cert asks SHOULD go on with it, so that the client decides; OpenSSL refuses',
  },
  {
    ours: /^(?:hello|retry) .*(?:across a change of keys|handshake message|of \d+ bytes|ended without)/,
    openssl: /NOT_ON_RECORD_BOUNDARY/,
    why: 'bytes behind the ClientHello in its record: we refuse them as well, but when they are read, which is after our answer',
  },
  {
    ours: /^nothing: /,
    openssl: /^unexpected_message: ERR_SSL_UNEXPECTED_MESSAGE/,
    why: 'a message that can’t stand here and is not whole: OpenSSL says so at its header, we when it is',
  },
  {
    ours: /^decode_error: clientHello of \d+ bytes/,
    openssl: /^nothing: undefined/,
    why: 'a ClientHello that is too long is refused at its header; OpenSSL’s bound is higher, so that it waits for the rest',
  },
];

/** Both refuse, without an alert from OpenSSL. */
const silences: readonly Difference[] = [
  {
    ours: /./,
    openssl: /^(?:nothing|internal_error): ERR_SSL_(?:WRONG_VERSION_NUMBER|HTTP_REQUEST|HTTPS_PROXY_REQUEST)/,
    why: 'OpenSSL takes a record of another major version or type for no TLS at all, and answers such a peer nothing',
  },
  {
    ours: /^(?:unexpected_message: empty record|protocol_version: the peer does not speak TLS)/,
    openssl: /^nothing: undefined/,
    why: 'OpenSSL waits for more of a record that can’t be one, or passes over an empty one',
  },
];

/** Both refuse, with alerts that differ. */
const alerts: readonly Difference[] = [
  {
    ours: /^illegal_parameter: .*stands twice/,
    openssl: /^decode_error|^unrecognized_name|^illegal_parameter/,
    why: 'RFC 8446, 6.2 has illegal_parameter for a field that is in order by itself; OpenSSL calls the whole undecodable',
  },
  {
    ours: /^illegal_parameter: .*server_name is not ASCII/,
    openssl: /^decode_error|^unrecognized_name/,
    why: 'the same of a name',
  },
  {
    ours: /^protocol_version: the peer does not speak TLS/,
    openssl: /^unexpected_message|^record_overflow|^internal_error/,
    why: 'a first byte that is no content type is no TLS, whatever follows; OpenSSL reads on',
  },
  {
    ours: /^decode_error: malformed alert/,
    openssl: /^unexpected_message/,
    why: 'a ClientHello in a record of alerts: malformed as an alert, unexpected as a message',
  },
  {
    ours: /^(?:decode_error: (?:clientHello|handshake message) .*bytes|decode_error: handshake message)/,
    openssl: /^illegal_parameter: ERR_SSL_EXCESSIVE_MESSAGE_SIZE|^unexpected_message/,
    why: 'a length beyond any message: by RFC 8446, 6.2 decode_error; a message of another type that is too long is both',
  },
  {
    // What is wrong in more than one way is refused for what is looked at first: framing of the whole before fields
    // in our case, version, then extensions in an order of its own, in OpenSSL's.
    ours: /^(?:decode_error|protocol_version|illegal_parameter|missing_extension|handshake_failure|no_application_protocol|unexpected_message|record_overflow): /,
    openssl:
      /ERR_SSL_(?:LENGTH_MISMATCH|LENGTH_TOO_SHORT|VERSION_TOO_LOW|INVALID_ENCODING|BAD_EXTENSION|UNSUPPORTED_PROTOCOL|BAD_LEGACY_VERSION|PACKET_LENGTH_TOO_LONG|DATA_LENGTH_TOO_LONG|WRONG_VERSION_NUMBER|NO_SHARED_CIPHER|NO_CIPHERS_SPECIFIED|NO_COMPRESSION_SPECIFIED|INVALID_COMPRESSION_ALGORITHM|NO_SUITABLE_KEY_SHARE|BAD_KEY_SHARE|BAD_ECPOINT|POINT_IS_NOT_ON_CURVE|MISSING_[A-Z_]+_EXTENSION|MISSING_SIGALGS_EXTENSION|NO_SUITABLE_SIGNATURE_ALGORITHM|POST_HANDSHAKE_AUTH_ENCODING_ERR|NO_APPLICATION_PROTOCOL|NOT_ON_RECORD_BOUNDARY|UNEXPECTED_MESSAGE)$/,
    why: 'several faults in one message, or one that is a fault in more than one way (an extension that is malformed, and therefore missing): each end names what it meets first',
  },
];

export const differences: readonly Difference[] = [...decisions, ...silences, ...alerts];
export const explain = explainer([...decisions, ...silences], alerts, /^(?!hello |retry |nothing)/);
