/** The scripts of a well-behaved client and server, and the run of one against an engine. */
import { encode } from '../../../tls-ext/bytes/index.ts';
import { defaultKeyAgreements, type KeyAgreementProvider } from '../../../tls-ext/crypto/index.ts';
import type {
  ClientEngineOptions,
  PskDecision,
  QkdPsk,
  QkdResult,
  ResumptionPsk,
  ServerEngineOptions,
} from '../../../tls-ext/engine-types.ts';
import { certificateVerifyContent } from '../../../tls-ext/handshake/authentication.ts';
import { importQkdPsk, type OfferedIdentity, ticketIdentity } from '../../../tls-ext/handshake/client-offer.ts';
import { SecretScope } from '../../../tls-ext/handshake/steps.ts';
import { createClientEngine, createServerEngine, SecretBytes } from '../../../tls-ext/index.ts';
import { pskBinder } from '../../../tls-ext/key-schedule/index.ts';
import {
  bindersLengthBytes,
  type ClientHello,
  decodeClientHello,
  decodeServerHello,
  defaultCodePoints,
  ExtensionType,
  encodeCertificate,
  encodeCertificateRequest,
  encodeCertificateVerify,
  encodeClientHello,
  encodeEncryptedExtensions,
  encodeServerHello,
  fillBinders,
  HandshakeType,
} from '../../../tls-ext/messages/index.ts';
import {
  type Answers,
  clientIdentity,
  clientOptions,
  type PskRequired,
  qkdPsk,
  Side,
  serverIdentity,
  serverOptions,
  type TestIdentity,
} from '../engine/engine-pair.ts';
import { rekeyKey } from '../engine/rekey-pair.ts';
import { clientRekeySteps, type RekeyKind, serverRekeySteps } from './rekey-steps.ts';
import { type Role, ScriptedPeer } from './scripted-peer.ts';
import { act, type Edit, expects, runStep, type Script, type Step, sends } from './scripts.ts';

const X25519 = 29;
const P256 = 23;
const sha256Suite = 0x1301;
const ownIdentities: Readonly<Record<Role, TestIdentity>> = { client: clientIdentity, server: serverIdentity };

/** What engine and peer are about to do. */
export interface Scenario {
  /** With a HelloRetryRequest, for P-256 instead of X25519. */
  readonly retry?: boolean;
  /**
   * A QKD key is used: beside certificates, or instead of them; or it is offered, and the server has none.
   * Or a ticket is used; or offered, and unknown.
   */
  readonly psk?: 'beside-certificates' | 'alone' | 'unavailable' | 'ticket' | 'ticket-unavailable';
  /** A rekey follows the handshake, with a key that both have, without one, with one that only the client has; or the server has not yet said. */
  readonly rekey?: RekeyKind;
  /** The server asks for a client certificate. */
  readonly mutual?: boolean;
  /** The peer's; the engine's stand in its options. Default: the runtime's. */
  readonly keyAgreements?: KeyAgreementProvider;
  /** Of both ends. Default: those of `engine-pair.ts`. */
  readonly identities?: Readonly<Record<Role, TestIdentity>>;
  /** What the engine's owner answers, where it is not what makes the scenario. */
  readonly answers?: Answers;
  readonly client?: Partial<ClientEngineOptions>;
  readonly server?: Partial<ServerEngineOptions>;
}

const isTicket = (psk: Scenario['psk']) => psk === 'ticket' || psk === 'ticket-unavailable';
const isUsed = (psk: Scenario['psk']) => psk === 'beside-certificates' || psk === 'alone' || psk === 'ticket';
/** No certificates are exchanged. */
const authenticates = (psk: Scenario['psk']) => psk === 'alone' || psk === 'ticket';

/** A ticket that both ends have; a new object each time, since engines wipe what they get. */
export const ticketPsk = (): ResumptionPsk => ({
  kind: 'resumption',
  identity: new Uint8Array(16).fill(0x74),
  secret: new SecretBytes(new Uint8Array(32).fill(0x72)),
  cipherSuite: sha256Suite,
});

function identityOf(psk: Scenario['psk']): OfferedIdentity {
  const scope = new SecretScope();
  return isTicket(psk) ? ticketIdentity(ticketPsk(), scope) : importQkdPsk(qkdPsk(), 'sha256', scope);
}

const resultOf: Readonly<Record<NonNullable<Scenario['psk']>, QkdResult>> = {
  'beside-certificates': 'used',
  alone: 'used',
  unavailable: 'unavailable',
  ticket: 'resumed',
  'ticket-unavailable': 'unavailable',
};

const certificate = (chain: readonly Uint8Array[]) =>
  encodeCertificate({
    certificateRequestContext: new Uint8Array(0),
    certificateList: chain.map((certData) => ({ certData, extensions: {} })),
  });

/** The server's script, for our client. */
export function serverScript(scenario: Scenario): Script {
  const { retry, psk, mutual, rekey, keyAgreements, identities = ownIdentities } = scenario;
  const used = isUsed(psk);
  const hear = (message: Uint8Array, peer: ScriptedPeer) => void peer.heard.set('ClientHello', message);
  const heard = (peer: ScriptedPeer) =>
    decodeClientHello((peer.heard.get('ClientHello') as Uint8Array).subarray(4), defaultCodePoints);
  let sharedSecret: Parameters<ScriptedPeer['enterHandshakeKeys']>[0];
  return [
    expects('ClientHello', HandshakeType.clientHello, hear),
    ...(retry
      ? [
          act('message_hash', (peer) => peer.transcript.replaceByMessageHash()),
          sends('HelloRetryRequest', (peer) =>
            encodeServerHello({
              kind: 'hello-retry-request',
              legacySessionIdEcho: heard(peer).legacySessionId,
              cipherSuite: sha256Suite,
              extensions: { supportedVersions: 0x0304, keyShare: P256 },
            }),
          ),
          expects('second ClientHello', HandshakeType.clientHello, hear),
        ]
      : []),
    sends('ServerHello', (peer) => {
      const { legacySessionId, extensions } = heard(peer);
      const offered = extensions.keyShare?.[0] as { group: number; keyExchange: Uint8Array };
      const { share, secret } = agreement(offered.group, keyAgreements).respond(offered.keyExchange);
      sharedSecret = secret;
      if (used) peer.earlySecret = identityOf(psk).earlySecret;
      return encodeServerHello({
        kind: 'server-hello',
        random: new Uint8Array(32).fill(0x52),
        legacySessionIdEcho: legacySessionId,
        cipherSuite: sha256Suite,
        extensions: {
          supportedVersions: 0x0304,
          keyShare: { group: offered.group, keyExchange: share },
          ...(psk === 'beside-certificates' ? { certWithExternPsk: true } : {}),
          ...(used ? { preSharedKey: 0 } : {}),
        },
      });
    }),
    act('handshake keys', (peer) => peer.enterHandshakeKeys(sharedSecret)),
    sends('EncryptedExtensions', () =>
      encodeEncryptedExtensions(
        {
          extensions:
            psk === undefined ? {} : { qkdPsk: { features: rekey === undefined ? 0 : 1, result: resultOf[psk] } },
        },
        defaultCodePoints,
      ),
    ),
    ...(mutual
      ? [
          sends('CertificateRequest', () =>
            encodeCertificateRequest({
              certificateRequestContext: new Uint8Array(0),
              extensions: { signatureAlgorithms: [0x0403, 0x0503, 0x0807] },
            }),
          ),
        ]
      : []),
    ...(authenticates(psk)
      ? []
      : [
          sends('Certificate', () => certificate(identities.server.chain)),
          sends('CertificateVerify', (peer) => signed('server', peer, 'server', identities)),
        ]),
    sends('Finished', (peer) => peer.finished()),
    act('application keys', (peer) => {
      peer.deriveApplicationSecrets();
      peer.sendUnderApplicationKeys();
    }),
    ...(mutual
      ? [
          expects('client Certificate', HandshakeType.certificate),
          expects('client CertificateVerify', HandshakeType.certificateVerify),
        ]
      : []),
    expects('client Finished', HandshakeType.finished),
    act("the client's application keys", (peer) => {
      peer.receiveUnderApplicationKeys();
      peer.endHandshake();
    }),
    ...(rekey === undefined ? [] : serverRekeySteps(rekey, keyAgreements)),
  ];
}

/** The client's script, for our server. */
export function clientScript(scenario: Scenario): Script {
  const { retry, psk, mutual, rekey, keyAgreements, identities = ownIdentities } = scenario;
  const offered = psk === undefined ? undefined : identityOf(psk);
  const features = rekey === undefined ? 0 : 1;
  const hello = (group: number, cookie?: Uint8Array) => (peer: ScriptedPeer) => {
    peer.keyShare = agreement(group, keyAgreements).generateKeyShare();
    return encodeClientHello(
      clientHello(group, peer.keyShare.share, psk, features, offered, cookie),
      defaultCodePoints,
    );
  };
  const bind = (message: Uint8Array, peer: ScriptedPeer) =>
    offered === undefined ? message : bound(message, offered, peer);
  return [
    sends('ClientHello', hello(X25519), bind),
    ...(retry
      ? [
          act('message_hash', (peer) => peer.transcript.replaceByMessageHash()),
          expects('HelloRetryRequest', HandshakeType.serverHello, (message, peer) => {
            peer.heard.set('HelloRetryRequest', message);
          }),
          sends(
            'second ClientHello',
            (peer) => {
              const request = decodeServerHello((peer.heard.get('HelloRetryRequest') as Uint8Array).subarray(4));
              const cookie = request.kind === 'hello-retry-request' ? request.extensions.cookie : undefined;
              return hello(P256, cookie)(peer);
            },
            bind,
          ),
        ]
      : []),
    expects('ServerHello', HandshakeType.serverHello, (message, peer) => {
      const { extensions, kind } = decodeServerHello(message.subarray(4));
      if (kind !== 'server-hello') throw new Error('HelloRetryRequest');
      const share = (extensions as { keyShare: { keyExchange: Uint8Array } }).keyShare.keyExchange;
      if ('preSharedKey' in extensions && offered !== undefined) peer.earlySecret = offered.earlySecret;
      peer.enterHandshakeKeys((peer.keyShare as NonNullable<ScriptedPeer['keyShare']>).finish(share));
    }),
    expects('EncryptedExtensions', HandshakeType.encryptedExtensions),
    ...(mutual ? [expects('CertificateRequest', HandshakeType.certificateRequest)] : []),
    ...(authenticates(psk)
      ? []
      : [
          expects('server Certificate', HandshakeType.certificate),
          expects('server CertificateVerify', HandshakeType.certificateVerify),
        ]),
    expects('server Finished', HandshakeType.finished, (_message, peer) => {
      peer.deriveApplicationSecrets();
      peer.receiveUnderApplicationKeys();
    }),
    ...(mutual
      ? [
          sends('Certificate', () => certificate(identities.client.chain)),
          sends('CertificateVerify', (peer) => signed('client', peer, 'client', identities)),
        ]
      : []),
    sends('Finished', (peer) => peer.finished()),
    act('application keys', (peer) => {
      peer.sendUnderApplicationKeys();
      peer.endHandshake();
    }),
    ...(rekey === undefined ? [] : clientRekeySteps(rekey, keyAgreements)),
  ];
}

function agreement(group: number, keyAgreements: KeyAgreementProvider = defaultKeyAgreements) {
  const found = keyAgreements(group);
  if (found === undefined) throw new Error(`no group ${group}`);
  return found;
}

/** CertificateVerify over the transcript as it is; with another signer's context or scheme if told so. */
export function signed(
  role: Role,
  peer: ScriptedPeer,
  context: Role = role,
  identities: Readonly<Record<Role, TestIdentity>> = ownIdentities,
): Uint8Array {
  const identity = identities[role];
  const [algorithm] = identity.signatureSchemes as [number];
  const content = certificateVerifyContent(context, peer.transcript.snapshot());
  return encodeCertificateVerify({ algorithm, signature: identity.sign(algorithm, content) });
}

function clientHello(
  group: number,
  share: Uint8Array,
  psk: Scenario['psk'],
  features: number,
  offered: OfferedIdentity | undefined,
  cookie: Uint8Array | undefined,
): ClientHello {
  return {
    random: new Uint8Array(32).fill(0x43),
    legacySessionId: new Uint8Array(32).fill(0x53),
    cipherSuites: [sha256Suite],
    extensions: {
      serverName: 'server.example',
      supportedGroups: [X25519, P256],
      signatureAlgorithms: [0x0403, 0x0503, 0x0807],
      supportedVersions: [0x0304],
      ...(cookie === undefined ? {} : { cookie }),
      keyShare: [{ group, keyExchange: share }],
      ...(offered === undefined
        ? {}
        : {
            pskKeyExchangeModes: [1],
            ...(psk === 'alone' || isTicket(psk) ? {} : { certWithExternPsk: true }),
            qkdPsk: { features, offer: { offer: isTicket(psk) ? 'ticket' : 'key' } },
            preSharedKey: {
              identities: [{ identity: offered.identity, obfuscatedTicketAge: 0 }],
              binders: [new Uint8Array(32)],
            },
          }),
    },
  };
}

/** With a binder that is right for this message, if pre_shared_key is where it should be. */
function bound(message: Uint8Array, offered: OfferedIdentity, { transcript }: ScriptedPeer): Uint8Array {
  const trailer = encode((writer) => writer.u16(33).u8(32).bytes(new Uint8Array(32)));
  const at = message.length - trailer.length;
  if (!trailer.every((byte, i) => message[at + i] === byte)) return message;
  const finished = message.slice();
  const truncated = message.subarray(0, message.length - bindersLengthBytes({ binders: [new Uint8Array(32)] }));
  const binderKey = offered.earlySecret.binderKey(offered.kind);
  fillBinders(finished, [pskBinder('sha256', binderKey, transcript.snapshotWith(truncated))]);
  return finished;
}

export interface Outcome {
  readonly side: Side;
  readonly peer: ScriptedPeer;
  /** Whether the script came to its end. */
  readonly complete: boolean;
}

const suites = { groups: [X25519, P256], cipherSuites: [sha256Suite, 0x1303] } as const;

export function engineFor(role: Role, scenario: Scenario): Side {
  const { retry, psk, mutual, rekey, client, server, answers, identities = ownIdentities } = scenario;
  const ownPsk = () => (isTicket(psk) ? ticketPsk() : qkdPsk());
  const decision = ({ offered }: PskRequired): PskDecision =>
    isUsed(psk) && offered.length > 0
      ? { action: 'use', psk: ownPsk() }
      : { action: 'continue', result: 'unavailable' };
  if (role === 'client') {
    const options = clientOptions({
      ...suites,
      grease: false,
      ...(mutual ? { identity: identities.client } : {}),
      ...(psk === undefined
        ? {}
        : {
            psk: ownPsk(),
            qkdOffer: { offer: isTicket(psk) ? 'ticket' : 'key' },
            auth: psk === 'alone' ? 'psk' : 'certificate',
          }),
      offerRekey: rekey !== undefined,
      ...client,
    });
    const verdict = () => ({ ok: true, publicKeySpki: identities.server.spki }) as const;
    const rekeyWanted = () => (rekey === 'without-key' ? undefined : rekeyKey(1));
    return new Side(createClientEngine(options), { verdict, rekeyWanted, ...answers });
  }
  const options = serverOptions({
    ...suites,
    ...(retry ? { groups: [P256] } : {}),
    requestClientCertificate: mutual ?? false,
    qkd: psk !== undefined,
    auth: psk === 'alone' ? 'psk' : 'certificate',
    identity: identities.server,
    acceptTickets: isTicket(psk),
    offerRekey: rekey !== undefined,
    ...server,
  });
  const verdict = () => ({ ok: true, publicKeySpki: identities.client.spki }) as const;
  const keyAnswer = (): QkdPsk | undefined | 'later' =>
    rekey === 'with-key' ? rekeyKey(1) : rekey === 'later' ? 'later' : undefined;
  return new Side(createServerEngine(options), { psk: decision, verdict, rekeyKey: keyAnswer, ...answers });
}

/** How what the peer has to say is cut into chunks; the default: one for each record. */
export type Chunks = (records: readonly Uint8Array[]) => readonly Uint8Array[];

/** Lets an edited script loose on an engine; ends when neither has anything to say. */
export function runAgainst(role: Role, scenario: Scenario, edit: Edit, chunks: Chunks = (all) => all): Outcome {
  const side = engineFor(role, scenario);
  const peer = new ScriptedPeer(role === 'client' ? 'server' : 'client');
  const script = edit(role === 'client' ? serverScript(scenario) : clientScript(scenario));
  side.take(side.engine.start());
  let at = 0;
  for (let progress = true; progress; ) {
    progress = false;
    for (const bytes of side.outbox.splice(0)) peer.deliver(bytes);
    for (; at < script.length && runStep(script[at] as Step, peer); at++) progress = true;
    for (const bytes of chunks(peer.outbox.splice(0))) side.take(side.engine.receive(bytes));
    progress ||= side.outbox.length > 0;
  }
  peer.drain();
  return { side, peer, complete: at === script.length };
}

/** Data goes both ways. */
export function exchangeData({ side, peer }: Outcome): { readonly toPeer: number[]; readonly toEngine: number[] } {
  side.received = [];
  peer.applicationData = new Uint8Array(0);
  side.take(side.engine.send(Uint8Array.of(1, 2, 3)));
  for (const bytes of side.outbox.splice(0)) peer.deliver(bytes);
  peer.drain();
  peer.record(23, Uint8Array.of(4, 5, 6));
  for (const bytes of peer.outbox.splice(0)) side.take(side.engine.receive(bytes));
  return { toPeer: [...peer.applicationData], toEngine: side.received };
}

export { ExtensionType, HandshakeType };
