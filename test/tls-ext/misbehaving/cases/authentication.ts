/** CertificateRequest, Certificate, CertificateVerify and Finished, in both roles; and what must not come instead. */
import {
  casesAgainst,
  casesAgainstBoth,
  certificateRequired,
  decodeError,
  decryptError,
  illegalParameter,
  missingExtension,
  oversized,
  unexpectedMessage,
  unsupportedExtension,
} from '../case.ts';
import { signed } from '../handshakes.ts';
import {
  addExtension,
  alter,
  alterBody,
  before,
  both,
  cutShort,
  drop,
  extension,
  flip,
  framed,
  inPieces,
  insteadOf,
  nothing,
  removeExtension,
  repeat,
  sendMessage,
  setByte,
  setExtension,
  swap,
  trailing,
} from '../scripts.ts';

const CR = 'CertificateRequest';
const CT = 'Certificate';
const CV = 'CertificateVerify';
const FIN = 'Finished';
const mutual = { mutual: true } as const;
const pskAlone = { psk: 'alone' } as const;
const psk = { psk: 'beside-certificates' } as const;

const message = (type: number, ...body: readonly number[]) => Uint8Array.of(type, 0, 0, body.length, ...body);
const certificateRequest = message(13, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3);
const emptyCertificate = message(11, 0, 0, 0, 0);
const ticket = message(4, 0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 1, 7, 0, 0);
const keyUpdate = message(24, 0);

/** The same for whoever authenticates: the server always, the client where it was asked. */
const eitherRole = {
  'Certificate left out': [drop(CT), unexpectedMessage, mutual],
  'Certificate twice': [repeat(CT), unexpectedMessage, mutual],
  'Certificate after CertificateVerify': [swap(CT, CV), unexpectedMessage, mutual],
  'Certificate with a request context': [
    alterBody(CT, (body) => Uint8Array.of(1, 9, ...body.subarray(1))),
    illegalParameter,
    mutual,
  ],
  'Certificate with an empty certificate in it': [
    alter(CT, () => message(11, 0, 0, 0, 5, 0, 0, 0, 0, 0)),
    decodeError,
    mutual,
  ],
  'Certificate with a staple that was not asked for': [
    addExtension(CT, extension(5, 1, 0, 0, 1, 9)),
    unsupportedExtension,
    mutual,
  ],
  'Certificate with a staple of an unknown type': [
    addExtension(CT, extension(5, 9, 0, 0, 1, 9)),
    illegalParameter,
    { ...mutual, client: { requestOcspStaple: true }, server: { requestOcspStaple: true } },
  ],
  'Certificate with an unknown extension': [addExtension(CT, extension(0x7777)), unsupportedExtension, mutual],
  'Certificate with extension 33': [addExtension(CT, extension(33)), illegalParameter, mutual],
  'Certificate with qkd_psk': [addExtension(CT, extension(0xff51, 0, 1, 0, 1)), illegalParameter, mutual],
  'Certificate with key_share': [addExtension(CT, extension(51, 0, 29)), illegalParameter, mutual],
  'Certificate cut short': [cutShort(CT), decodeError, mutual],
  'Certificate with bytes behind it': [trailing(CT), decodeError, mutual],
  'Certificate of 17 certificates': [
    alter(CT, () => message(11, 0, 0, 0, 102, ...Array.from({ length: 17 }, () => [0, 0, 1, 9, 0, 0]).flat())),
    decodeError,
    mutual,
  ],
  'a Certificate beyond its bound': [
    insteadOf(CT, sendMessage(Uint8Array.of(11, 0xff, 0xff, 0xff))),
    oversized,
    mutual,
  ],
  'CertificateVerify left out': [drop(CV), unexpectedMessage, mutual],
  'CertificateVerify twice': [repeat(CV), unexpectedMessage, mutual],
  'neither Certificate nor CertificateVerify': [both(drop(CT), drop(CV)), unexpectedMessage, mutual],
  'CertificateVerify with a flipped bit in its signature': [setByte(CV, -1, flip), decryptError, mutual],
  'CertificateVerify with an empty signature': [
    alterBody(CV, (body) => Uint8Array.of(...body.subarray(0, 2), 0, 0)),
    decryptError,
    mutual,
  ],
  // A right signature by the right key, in a scheme that we speak and did not name.
  'CertificateVerify in a scheme that was not offered': [
    nothing,
    illegalParameter,
    { ...mutual, client: { signatureSchemes: [0x0503] }, server: { signatureSchemes: [0x0403] } },
  ],
  'CertificateVerify in an unknown scheme': [setByte(CV, 5, 0x07), illegalParameter, mutual],
  'CertificateVerify in RSASSA-PKCS1-v1_5': [
    alterBody(CV, (b) => Uint8Array.of(4, 1, ...b.subarray(2))),
    illegalParameter,
    mutual,
  ],
  'CertificateVerify in a SHA-1 scheme': [
    alterBody(CV, (b) => Uint8Array.of(2, 3, ...b.subarray(2))),
    illegalParameter,
    mutual,
  ],
  "CertificateVerify with the other role's context string": [
    alter(CV, (_message, peer) => signed(peer.role, peer, peer.role === 'client' ? 'server' : 'client')),
    decryptError,
    mutual,
  ],
  'CertificateVerify over another transcript': [
    framed(CT, (sent, peer) => {
      peer.note(Uint8Array.of(0));
      peer.record(22, sent);
    }),
    decryptError,
    mutual,
  ],
  'CertificateVerify cut short': [cutShort(CV), decodeError, mutual],
  'CertificateVerify with bytes behind it': [trailing(CV), decodeError, mutual],
  'a wrong Finished': [setByte(FIN, -1, flip), decryptError],
  'a wrong Finished with a QKD key': [setByte(FIN, 4, flip), decryptError, psk],
  'Finished of 12 bytes': [alterBody(FIN, (body) => body.subarray(0, 12)), decodeError],
  'Finished with bytes behind it': [trailing(FIN), decodeError],
  'Finished of nothing': [alterBody(FIN, () => new Uint8Array(0)), decodeError],
  'application data instead of Finished': [
    before(FIN, { kind: 'act', name: 'data', act: (peer) => peer.record(23, Uint8Array.of(1)) }),
    unexpectedMessage,
  ],
  'Finished and the next message in one record': [
    framed(FIN, (sent, peer) => peer.record(22, Uint8Array.of(...sent, ...ticket))),
    unexpectedMessage,
  ],
  'Finished and the beginning of the next message in one record': [
    framed(FIN, (sent, peer) => peer.record(22, Uint8Array.of(...sent, 4))),
    unexpectedMessage,
  ],
  'KeyUpdate before Finished': [before(FIN, sendMessage(keyUpdate)), unexpectedMessage],
  'NewSessionTicket before Finished': [before(FIN, sendMessage(ticket)), unexpectedMessage],
  'EndOfEarlyData before Finished': [before(FIN, sendMessage(message(5))), unexpectedMessage],
  'message_hash on the wire': [before(FIN, sendMessage(message(254, ...new Uint8Array(32)))), unexpectedMessage],
  'an unknown handshake message': [before(FIN, sendMessage(message(99))), unexpectedMessage],
  'ClientHello before Finished': [before(FIN, sendMessage(message(1, 0))), unexpectedMessage],
  'a handshake message in pieces of one byte': [inPieces(FIN, ...Array.from({ length: 35 }, () => 1)), 'connected'],
} as const;

export const authenticationCases = [
  ...casesAgainstBoth(eitherRole),
  ...casesAgainst('client', {
    'Certificate without certificates': [alter(CT, () => emptyCertificate), decodeError],
    'CertificateRequest with a context': [
      alterBody(CR, (body) => Uint8Array.of(1, 9, ...body.subarray(1))),
      illegalParameter,
      mutual,
    ],
    'CertificateRequest without signature_algorithms': [removeExtension(CR, 13), missingExtension, mutual],
    'CertificateRequest with no scheme in it': [setExtension(CR, 13, 0, 0), decodeError, mutual],
    'CertificateRequest with an unknown extension': [addExtension(CR, extension(0x7777)), 'connected', mutual],
    'CertificateRequest with key_share': [addExtension(CR, extension(51)), illegalParameter, mutual],
    'CertificateRequest with extension 33': [addExtension(CR, extension(33)), illegalParameter, mutual],
    'CertificateRequest with qkd_psk': [addExtension(CR, extension(0xff51, 0, 1, 0, 1)), illegalParameter, mutual],
    'CertificateRequest with an extension twice': [
      addExtension(CR, extension(13, 0, 2, 4, 3)),
      illegalParameter,
      mutual,
    ],
    'CertificateRequest cut short': [cutShort(CR), decodeError, mutual],
    'CertificateRequest with bytes behind it': [trailing(CR), decodeError, mutual],
    'CertificateRequest twice': [repeat(CR), unexpectedMessage, mutual],
    'CertificateRequest after Certificate': [swap(CR, CT), unexpectedMessage, mutual],
    'CertificateRequest before EncryptedExtensions': [swap(CR, 'EncryptedExtensions'), unexpectedMessage, mutual],
    'CertificateRequest where a PSK alone authenticates': [
      before(FIN, sendMessage(certificateRequest)),
      unexpectedMessage,
      pskAlone,
    ],
    'CertificateRequest beside a QKD key and certificates': [nothing, 'connected', { ...psk, mutual: true }],
    'Certificate where a PSK alone authenticates': [
      before(FIN, sendMessage(emptyCertificate)),
      unexpectedMessage,
      pskAlone,
    ],
    'no certificates beside a QKD key, although extension 33 said so': [
      both(drop(CT), drop(CV)),
      unexpectedMessage,
      psk,
    ],
  }),
  ...casesAgainst('server', {
    'Certificate without certificates': [alter(CT, () => emptyCertificate), certificateRequired, mutual],
    'Certificate that was not asked for': [before(FIN, sendMessage(emptyCertificate)), unexpectedMessage],
    'CertificateRequest from a client': [before(FIN, sendMessage(certificateRequest)), unexpectedMessage],
    'EncryptedExtensions from a client': [before(FIN, sendMessage(message(8, 0, 0))), unexpectedMessage],
  }),
];
