/** ClientHello on the server's side, with HelloRetryRequest where the client's share is of the wrong group. */
import { bytesEqual, constantTimeEqual, decodeWhole, encode, SecretBytes } from '../bytes/index.ts';
import { type CipherSuiteInfo, cipherSuiteInfo, hash, hashLengthBytes, hmac, TranscriptHash } from '../crypto/index.ts';
import type { ServerEngineOptions } from '../engine-types.ts';
import {
  clientHelloInvariants,
  decodeClientHello,
  type ExtensionCodePoints,
  encodeServerHello,
  HandshakeType,
  type KeyShareEntry,
  ProtocolVersion,
  type ReceivedClientHello,
} from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';
import { illegalParameter } from './faults.ts';
import { negotiate, type ServerParameters } from './server-negotiation.ts';
import { bodyOf, type HandshakeMessage, type HandshakeWire, messageHash, receive, type Steps } from './steps.ts';

/** The ClientHello to answer, and the transcript in front of it. */
export interface AcceptedClientHello {
  readonly hello: ReceivedClientHello;
  readonly message: HandshakeMessage;
  readonly suite: CipherSuiteInfo;
  readonly group: number;
  readonly clientShare: KeyShareEntry;
  readonly transcript: TranscriptHash;
  readonly retried: boolean;
}

/** All that a server has to remember of the first ClientHello, in memory or in the cookie. */
interface RetryState {
  readonly suite: CipherSuiteInfo;
  readonly group: number;
  readonly clientHello1Hash: Uint8Array;
  readonly invariantsHash: Uint8Array;
}

const INVARIANTS_HASH = 'sha256';
const COOKIE_MAC = 'sha256';
const MIN_COOKIE_KEY_BYTES = 32;

/** ClientHello, or ClientHello, HelloRetryRequest, ClientHello. */
export function* expectClientHello(
  wire: HandshakeWire,
  options: ServerEngineOptions,
  codePoints: ExtensionCodePoints,
): Steps<AcceptedClientHello> {
  const message = yield* receive('ExpectClientHello', HandshakeType.clientHello);
  const hello = decodeClientHello(bodyOf(message), codePoints);
  const parameters = negotiate(hello, options, false);
  const { suite, group, clientShare } = parameters;
  if (hello.extensions.cookie !== undefined) throw illegalParameter('a cookie in the first ClientHello');
  if (clientShare !== undefined) {
    const transcript = new TranscriptHash(suite.hash);
    return { hello, message, suite, group, clientShare, transcript, retried: false };
  }
  const state = askAgain(wire, options, message, hello, parameters);
  return yield* expectSecondClientHello(options, codePoints, state);
}

/** HelloRetryRequest. What it returns is nothing where the client carries it in the cookie. */
function askAgain(
  wire: HandshakeWire,
  options: ServerEngineOptions,
  message: HandshakeMessage,
  hello: ReceivedClientHello,
  { suite, group }: ServerParameters,
): RetryState | undefined {
  const state: RetryState = {
    suite,
    group,
    clientHello1Hash: hash(suite.hash, message.bytes),
    invariantsHash: hash(INVARIANTS_HASH, clientHelloInvariants(hello)),
  };
  const cookie = options.cookieKey && sealCookie(options.cookieKey, state);
  wire.send(encodeHelloRetryRequest(hello.legacySessionId, state, cookie));
  if (hello.legacySessionId.length > 0) wire.sendChangeCipherSpec();
  if (hello.extensions.earlyData) wire.skipEarlyData();
  return cookie === undefined ? state : undefined;
}

function* expectSecondClientHello(
  options: ServerEngineOptions,
  codePoints: ExtensionCodePoints,
  remembered: RetryState | undefined,
): Steps<AcceptedClientHello> {
  const message = yield* receive('ExpectClientHelloAfterRetry', HandshakeType.clientHello);
  const hello = decodeClientHello(bodyOf(message), codePoints);
  const { cookie, keyShare, earlyData } = hello.extensions;
  const state = remembered ?? openCookie(options.cookieKey, cookie);
  if (remembered !== undefined && cookie !== undefined) throw illegalParameter('a cookie that was not given');
  if (!bytesEqual(hash(INVARIANTS_HASH, clientHelloInvariants(hello)), state.invariantsHash)) {
    throw illegalParameter('the second ClientHello differs from the first');
  }
  if (earlyData) throw illegalParameter('early_data after HelloRetryRequest');
  const { suite, group } = negotiate(hello, options, true);
  const [clientShare, ...others] = keyShare ?? [];
  if (clientShare?.group !== state.group || others.length > 0) {
    throw illegalParameter('the second ClientHello does not hold just the share that was asked for');
  }
  // The cookie may be of another connection, and older than the settings.
  if (suite !== state.suite || group !== state.group) throw illegalParameter('the second ClientHello negotiates anew');
  const transcript = new TranscriptHash(suite.hash);
  transcript.update(messageHash(state.clientHello1Hash));
  transcript.update(encodeHelloRetryRequest(hello.legacySessionId, state, cookie));
  return { hello, message, suite, group, clientShare, transcript, retried: true };
}

/** The same bytes whenever it is encoded, so that it can be rebuilt for the transcript. */
function encodeHelloRetryRequest(
  legacySessionIdEcho: Uint8Array,
  { suite, group }: RetryState,
  cookie: Uint8Array | undefined,
): Uint8Array {
  return encodeServerHello({
    kind: 'hello-retry-request',
    legacySessionIdEcho,
    cipherSuite: suite.codePoint,
    extensions: {
      supportedVersions: ProtocolVersion.tls13,
      keyShare: group,
      cookie,
    },
  });
}

/** `uint16 suite, uint16 group, clientHello1Hash, invariantsHash`, and a MAC over them. */
function sealCookie(cookieKey: Uint8Array, state: RetryState): Uint8Array {
  return encode((writer) => {
    const content = encode((inner) =>
      inner.u16(state.suite.codePoint).u16(state.group).bytes(state.clientHello1Hash).bytes(state.invariantsHash),
    );
    writer.bytes(content).bytes(cookieMac(cookieKey, content));
  });
}

function openCookie(cookieKey: Uint8Array | undefined, cookie: Uint8Array | undefined): RetryState {
  if (cookieKey === undefined || cookie === undefined) throw illegalParameter('the cookie is missing');
  const macBytes = hashLengthBytes[COOKIE_MAC];
  const content = cookie.subarray(0, -macBytes);
  if (!constantTimeEqual(cookieMac(cookieKey, content), cookie.subarray(-macBytes))) {
    throw illegalParameter('the cookie is not the one that was given');
  }
  return decodeWhole(content, (reader) => {
    const suite = cipherSuiteInfo(reader.u16());
    if (suite === undefined) throw illegalParameter('the cookie names an unknown cipher suite');
    return {
      suite,
      group: reader.u16(),
      clientHello1Hash: reader.bytes(hashLengthBytes[suite.hash]),
      invariantsHash: reader.bytes(hashLengthBytes[INVARIANTS_HASH]),
    };
  });
}

function cookieMac(cookieKey: Uint8Array, content: Uint8Array): Uint8Array {
  if (cookieKey.length < MIN_COOKIE_KEY_BYTES) throw new TlsMisuseError('cookieKey is too short');
  const key = SecretBytes.copyOf(cookieKey);
  const mac = hmac(COOKIE_MAC, key, content);
  key.wipe();
  return mac;
}
