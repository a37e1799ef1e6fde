/** A peer that follows the protocol but for what a test changes: any message it sends can be altered, dropped or joined by others. */
import type {
  ClientEngineOptions,
  EngineOptions,
  ServerEngineOptions,
  TlsEngine,
} from '../../../tls-ext/engine-types.ts';
import { clientHandshake } from '../../../tls-ext/handshake/client-handshake.ts';
import { serverHandshake } from '../../../tls-ext/handshake/server-handshake.ts';
import type { Session } from '../../../tls-ext/handshake/session.ts';
import type { HandshakeWire, Steps } from '../../../tls-ext/handshake/steps.ts';
import { createClientEngine, createServerEngine } from '../../../tls-ext/index.ts';
import {
  type ClientHello,
  decodeClientHello,
  decodeEncryptedExtensions,
  decodeServerHello,
  defaultCodePoints,
  type EncryptedExtensions,
  encodeClientHello,
  encodeEncryptedExtensions,
  encodeServerHello,
  HANDSHAKE_HEADER_BYTES,
  HandshakeType,
  type HelloRetryRequest,
  type ReceivedClientHello,
  type ServerHello,
} from '../../../tls-ext/messages/index.ts';
import { TlsEndpoint } from '../../../tls-ext/tls-endpoint.ts';
import {
  type Answers,
  clientOptions,
  EnginePair,
  Side,
  serverOptions,
  type TestIdentity,
} from '../engine/engine-pair.ts';

/** What becomes of a message that the peer is about to send: nothing, itself, or others. */
export type Tamper = (message: Uint8Array, index: number) => readonly Uint8Array[];

/** The misbehaving endpoint and its wire, for messages outside of a handshake. */
export interface MisbehavingPeer {
  readonly engine: TlsEngine;
  readonly wire: () => HandshakeWire;
}

export function misbehavingPeer(
  role: 'client' | 'server',
  options: EngineOptions,
  steps: (wire: HandshakeWire) => Steps<Session>,
  tamper: Tamper,
): MisbehavingPeer {
  let captured: HandshakeWire | undefined;
  let index = 0;
  const engine = new TlsEndpoint(role, options, (wire) => {
    captured = wire;
    return steps({
      ...wire,
      send: (message) => {
        for (const sent of tamper(message, index++)) wire.send(sent);
      },
    });
  });
  return {
    engine,
    wire: () => {
      if (captured === undefined) throw new Error('not started');
      return captured;
    },
  };
}

const spkiOf = ({ identity }: EngineOptions & { identity?: unknown }) =>
  (identity as TestIdentity | undefined)?.spki ?? new Uint8Array(0);

/** Our client against a server that tampers. */
export function againstServer(
  tamper: Tamper,
  options: {
    client?: Partial<ClientEngineOptions>;
    server?: Partial<ServerEngineOptions>;
    serverAnswers?: Answers;
  } = {},
): EnginePair & { readonly peer: MisbehavingPeer } {
  const client = clientOptions(options.client);
  const server = serverOptions(options.server);
  const peer = misbehavingPeer('server', server, (wire) => serverHandshake(wire, server), tamper);
  const verdict = (spki: Uint8Array) => () => ({ ok: true, publicKeySpki: spki }) as const;
  const pair = new EnginePair(
    new Side(createClientEngine(client), { verdict: verdict(spkiOf(server)) }),
    new Side(peer.engine, { verdict: verdict(spkiOf(client)), ...options.serverAnswers }),
  );
  return Object.assign(pair, { peer });
}

/** Our server against a client that tampers. */
export function againstClient(
  tamper: Tamper,
  options: {
    client?: Partial<ClientEngineOptions>;
    server?: Partial<ServerEngineOptions>;
    serverAnswers?: Answers;
  } = {},
): EnginePair & { readonly peer: MisbehavingPeer } {
  const client = clientOptions(options.client);
  const server = serverOptions(options.server);
  const peer = misbehavingPeer('client', client, (wire) => clientHandshake(wire, client), tamper);
  const verdict = (spki: Uint8Array) => () => ({ ok: true, publicKeySpki: spki }) as const;
  const pair = new EnginePair(
    new Side(peer.engine, { verdict: verdict(spkiOf(server)) }),
    new Side(createServerEngine(server), { verdict: verdict(spkiOf(client)), ...options.serverAnswers }),
  );
  return Object.assign(pair, { peer });
}

export const unchanged: Tamper = (message) => [message];

/** Tampers with messages of one type only. */
export function on(type: HandshakeType, change: (message: Uint8Array) => readonly Uint8Array[]): Tamper {
  return (message) => (message[0] === type ? change(message) : [message]);
}

const bodyOf = (message: Uint8Array) => message.subarray(HANDSHAKE_HEADER_BYTES);

/** Decodes, changes and encodes ClientHellos: all, or those of one index (0: the first). */
export function changeClientHello(change: (hello: ReceivedClientHello) => ClientHello, only?: number): Tamper {
  let count = 0;
  return on(HandshakeType.clientHello, (message) => {
    if (only !== undefined && count++ !== only) return [message];
    return [encodeClientHello(change(decodeClientHello(bodyOf(message), defaultCodePoints)), defaultCodePoints)];
  });
}

export function changeServerHello(change: (hello: ServerHello) => ServerHello): Tamper {
  return on(HandshakeType.serverHello, (message) => {
    const hello = decodeServerHello(bodyOf(message));
    return [hello.kind === 'server-hello' ? encodeServerHello(change(hello)) : message];
  });
}

export function changeHelloRetryRequest(
  change: (hello: HelloRetryRequest) => HelloRetryRequest | readonly HelloRetryRequest[],
): Tamper {
  return on(HandshakeType.serverHello, (message) => {
    const hello = decodeServerHello(bodyOf(message));
    if (hello.kind !== 'hello-retry-request') return [message];
    return [change(hello)].flat().map((changed) => encodeServerHello(changed));
  });
}

export function changeEncryptedExtensions(
  change: (extensions: EncryptedExtensions['extensions']) => EncryptedExtensions['extensions'],
): Tamper {
  return on(HandshakeType.encryptedExtensions, (message) => {
    const { extensions } = decodeEncryptedExtensions(bodyOf(message), defaultCodePoints);
    return [encodeEncryptedExtensions({ extensions: change(extensions) }, defaultCodePoints)];
  });
}
