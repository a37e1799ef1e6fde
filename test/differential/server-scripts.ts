/** The handshakes whose server is changed: what it says if it is right, to our client and to OpenSSL's. */
import { SecretBytes, utf8 } from '../../tls-ext/bytes/index.ts';
import type { EngineIdentity } from '../../tls-ext/index.ts';
import { EarlySecret } from '../../tls-ext/key-schedule/index.ts';
import {
  ExtensionType,
  encodeKeyUpdate,
  encodeNewSessionTicket,
  KeyUpdateRequest,
} from '../../tls-ext/messages/index.ts';
import { ContentType } from '../../tls-ext/record/index.ts';
import { serverScript } from '../tls-ext/misbehaving/handshakes.ts';
import {
  act,
  addExtension,
  alter,
  alterExtensions,
  both,
  drop,
  type Edit,
  extension,
  finally_,
  nothing,
  type RawExtension,
  type Script,
  sends,
} from '../tls-ext/misbehaving/scripts.ts';
import { ALPN, clientCredential, identityOf, serverCredential } from './credentials.ts';

export const PSK_IDENTITY = utf8('client');
export const PSK = new Uint8Array(32).fill(0x70);
/** Application data after everything else: who gets it has taken all before. */
export const DATA = Uint8Array.of(1, 2, 3);

const ECDSA_SIGNATURE_BYTES = 71;

/** Signatures of one length, so that a change of a message is the same change whoever it is made for. */
function withEvenSignatures(identity: EngineIdentity): EngineIdentity & { readonly spki: Uint8Array } {
  return {
    ...identity,
    spki: new Uint8Array(0),
    sign: (scheme, content) => {
      let signature = identity.sign(scheme, content);
      while (signature.length !== ECDSA_SIGNATURE_BYTES) signature = identity.sign(scheme, content);
      return signature;
    },
  };
}

const identities = {
  server: withEvenSignatures(identityOf(serverCredential)),
  client: withEvenSignatures(identityOf(clientCredential)),
};

/** The server took the name, names a protocol, and has groups of its own. */
const negotiated: readonly RawExtension[] = [
  extension(ExtensionType.serverName),
  extension(ExtensionType.supportedGroups, 0, 4, 0, 29, 0, 23),
  extension(ExtensionType.alpn, 0, ALPN.length + 1, ALPN.length, ...utf8(ALPN)),
];
const sayAll = alterExtensions('EncryptedExtensions', () => negotiated);

const thenSpeak = finally_(
  sends('NewSessionTicket', () =>
    encodeNewSessionTicket({
      ticketLifetimeSeconds: 7_200,
      ticketAgeAdd: 0x01020304,
      ticketNonce: Uint8Array.of(0, 0),
      ticket: new Uint8Array(40).fill(0x74),
      extensions: {},
    }),
  ),
  sends('KeyUpdate', () => encodeKeyUpdate(KeyUpdateRequest.updateNotRequested)),
  act('new keys', (peer) => peer.updateSendingKeys()),
  act('data', (peer) => peer.record(ContentType.applicationData, DATA)),
);

const pskAlone: Edit = both(
  drop('Certificate'),
  drop('CertificateVerify'),
  addExtension('ServerHello', extension(ExtensionType.preSharedKey, 0, 0)),
  alter('ServerHello', (message, peer) => {
    peer.earlySecret = EarlySecret.of('sha256', new SecretBytes(PSK.slice()));
    return message;
  }),
);
const cookie = addExtension('HelloRetryRequest', extension(ExtensionType.cookie, 0, 3, 9, 8, 7));

export interface ServerScript {
  /** Whether the client is to have the PSK. */
  readonly psk: boolean;
  readonly script: Script;
}

function scriptOf({ retry = false, mutual = false, psk = false }, edit: Edit = nothing): ServerScript {
  const all = both(edit, sayAll, thenSpeak)(serverScript({ retry, mutual, identities }));
  // What the client sends before its Finished is passed over.
  const script = all.filter(({ kind, name }) => kind !== 'expect' || !/^client Cert/.test(name));
  return { psk, script };
}

export const serverScripts: readonly ServerScript[] = [
  scriptOf({}),
  scriptOf({ mutual: true }),
  scriptOf({ retry: true }),
  scriptOf({ retry: true, mutual: true }, cookie),
  scriptOf({ psk: true }, pskAlone),
  scriptOf({ retry: true, psk: true }, pskAlone),
];
