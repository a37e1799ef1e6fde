/** Two engines joined in memory, with answers to their questions scripted by the test. */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';
import { expect } from 'chai';
import { encode } from '../../../tls-ext/bytes/index.ts';
import {
  type ClientEngineOptions,
  createClientEngine,
  createServerEngine,
  type EngineEvent,
  type EngineIdentity,
  fromHex,
  type HandshakeSummary,
  hexOf,
  NamedGroup,
  type PeerVerdict,
  type PskDecision,
  type QkdPsk,
  SecretBytes,
  type ServerEngineOptions,
  signatureSchemes,
  signingKeyFromPkcs8,
  signingKeyOf,
  type TlsEngine,
  type TlsError,
} from '../../../tls-ext/index.ts';

export const random = (lengthBytes: number) => new Uint8Array(randomBytes(lengthBytes));

export interface TestIdentity extends EngineIdentity {
  readonly spki: Uint8Array;
}

/** An identity whose "certificate" is any bytes: judging it is not the engine's business. */
export function testIdentity(type: 'P-256' | 'P-384' | 'ed25519' | 'rsa' | 'rsa-pss' = 'P-256'): TestIdentity {
  const { privateKey, publicKey } =
    type === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : type === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : type === 'rsa-pss'
          ? generateKeyPairSync('rsa-pss', { modulusLength: 2048 })
          : generateKeyPairSync('ec', { namedCurve: type });
  const spki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  return {
    chain: [Uint8Array.of(0x30, 0x03, 1, 2, 3), Uint8Array.of(0x30, 0x01, 9)],
    ...signingKeyOf(privateKey),
    spki,
  };
}

const mlDsa = {
  'ml-dsa-44': { dsa: ml_dsa44, oid: '608648016503040311' },
  'ml-dsa-65': { dsa: ml_dsa65, oid: '608648016503040312' },
  'ml-dsa-87': { dsa: ml_dsa87, oid: '608648016503040313' },
} as const;

/** The same with an ML-DSA key, in the encodings of RFC 9881: as seed, and as SubjectPublicKeyInfo. */
export function mlDsaIdentity(parameters: keyof typeof mlDsa): TestIdentity {
  const { dsa, oid } = mlDsa[parameters];
  const seed = random(32);
  const pkcs8 = fromHex(`3034020100300b0609${oid}04228020${hexOf(seed)}`);
  const bits = encode((w) =>
    w
      .u8(0x03)
      .u8(0x82)
      .vector(2, Uint8Array.of(0, ...dsa.keygen(seed).publicKey)),
  );
  const spki = encode((w) =>
    w
      .u8(0x30)
      .u8(0x82)
      .vector(2, (inner) => inner.bytes(fromHex(`300b0609${oid}`)).bytes(bits)),
  );
  return { chain: [Uint8Array.of(0x30, 0)], ...signingKeyFromPkcs8(pkcs8), spki };
}

export const serverIdentity = testIdentity();
export const clientIdentity = testIdentity('P-384');

const common = {
  random,
  groups: [NamedGroup.x25519MlKem768, NamedGroup.x25519, NamedGroup.secp256r1],
  cipherSuites: [0x1302, 0x1301, 0x1303],
  signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
} as const;

export function clientOptions(overrides: Partial<ClientEngineOptions> = {}): ClientEngineOptions {
  return { ...common, auth: 'certificate', serverName: 'server.example', ...overrides };
}

export function serverOptions(overrides: Partial<ServerEngineOptions> = {}): ServerEngineOptions {
  return {
    ...common,
    auth: 'certificate',
    identity: serverIdentity,
    requestClientCertificate: false,
    qkd: false,
    ...overrides,
  };
}

export const qkdReference = {
  api: 'etsi004',
  drawer: 'siteA',
  ksid: new Uint8Array(16).fill(4),
  index: 7,
  slice: 1,
} as const;

/** The same QKD key at both ends; a new object each time, since engines wipe what they get. */
export function qkdPsk(overrides: Partial<QkdPsk> = {}, fill = 0x51): QkdPsk {
  return {
    kind: 'qkd',
    reference: qkdReference,
    context: { purpose: 'handshake', drawer: 'siteA', answerer: 'siteB' },
    secret: new SecretBytes(new Uint8Array(32).fill(fill)),
    ...overrides,
  };
}

export type PskRequired = Extract<EngineEvent, { type: 'psk-required' }>;
export type RekeyKeyRequired = Extract<EngineEvent, { type: 'rekey-key-required' }>;
export type PeerCertificate = Extract<EngineEvent, { type: 'peer-certificate' }>;

/** How a side answers; `undefined` = not now, the test does it. */
export interface Answers {
  psk?(event: PskRequired): PskDecision | undefined;
  verdict?(event: PeerCertificate): PeerVerdict | undefined;
  /** `'later'` = not now; `undefined` = the server does not have the key. */
  /** `'no'` = not now. */
  rekeyWanted?(): QkdPsk | undefined | 'no';
  rekeyKey?(event: RekeyKeyRequired): QkdPsk | undefined | 'later';
}

export class Side {
  readonly engine: TlsEngine;
  readonly #answers: Answers;
  readonly events: EngineEvent[] = [];
  /** What this side has sent and nobody has delivered yet. */
  outbox: Uint8Array[] = [];
  received: number[] = [];

  constructor(engine: TlsEngine, answers: Answers) {
    this.engine = engine;
    this.#answers = answers;
  }

  take(events: readonly EngineEvent[]): void {
    for (const event of events) {
      this.events.push(event);
      switch (event.type) {
        case 'write':
          this.outbox.push(event.bytes.slice());
          event.release?.();
          break;
        case 'plaintext':
          this.received.push(...event.bytes);
          event.release?.();
          break;
        case 'psk-required': {
          const decision = this.#answers.psk?.(event);
          if (decision !== undefined) this.take(this.engine.providePsk(decision));
          break;
        }
        case 'peer-certificate': {
          const verdict = this.#answers.verdict?.(event);
          if (verdict !== undefined) this.take(this.engine.provideVerdict(verdict));
          break;
        }
        case 'rekey-wanted': {
          const key = this.#answers.rekeyWanted === undefined ? 'no' : this.#answers.rekeyWanted();
          if (key !== 'no') this.take(this.engine.rekey(key));
          break;
        }
        case 'rekey-key-required': {
          const key = this.#answers.rekeyKey?.(event);
          if (key !== 'later') this.take(this.engine.provideRekeyKey(key));
          break;
        }
        default:
      }
    }
  }

  event<T extends EngineEvent['type']>(type: T): Extract<EngineEvent, { type: T }> | undefined {
    return this.events.find((event): event is Extract<EngineEvent, { type: T }> => event.type === type);
  }

  get summary(): HandshakeSummary | undefined {
    return this.event('handshake-complete')?.summary;
  }

  get error(): TlsError | undefined {
    return this.event('failed')?.error;
  }
}

/** How bytes are cut on their way; the default delivers each write whole. */
export type Cut = (bytes: Uint8Array) => readonly Uint8Array[];

export class EnginePair {
  readonly client: Side;
  readonly server: Side;
  readonly #cut: Cut;
  /** Everything that went over the wire, by sender. */
  readonly wire: { readonly from: 'client' | 'server'; readonly bytes: Uint8Array }[] = [];

  constructor(client: Side, server: Side, cut: Cut = (bytes) => [bytes]) {
    this.client = client;
    this.server = server;
    this.#cut = cut;
  }

  /** Starts both and delivers until nobody has anything to say. */
  run(): this {
    this.client.take(this.client.engine.start());
    this.server.take(this.server.engine.start());
    return this.deliver();
  }

  /** By turns; `first` matters where what both have to say crosses. */
  deliver(first: 'client' | 'server' = 'client'): this {
    if (first === 'server') this.#move('server', this.server, this.client);
    while (this.client.outbox.length > 0 || this.server.outbox.length > 0) {
      this.#move('client', this.client, this.server);
      this.#move('server', this.server, this.client);
    }
    return this;
  }

  #move(from: 'client' | 'server', sender: Side, receiver: Side): void {
    const [bytes] = sender.outbox.splice(0, 1);
    if (bytes === undefined) return;
    this.wire.push({ from, bytes });
    for (const piece of this.#cut(bytes)) receiver.take(receiver.engine.receive(piece));
  }
}

const accept = (spki: Uint8Array) => (): PeerVerdict => ({ ok: true, publicKeySpki: spki });

export interface PairOptions {
  readonly client?: Partial<ClientEngineOptions>;
  readonly server?: Partial<ServerEngineOptions>;
  readonly clientAnswers?: Answers;
  readonly serverAnswers?: Answers;
  readonly cut?: Cut;
}

export function enginePair(options: PairOptions = {}): EnginePair {
  const client = clientOptions(options.client);
  const server = serverOptions(options.server);
  const serverSpki = (server.identity as TestIdentity | undefined)?.spki ?? new Uint8Array(0);
  const clientSpki = (client.identity as TestIdentity | undefined)?.spki ?? new Uint8Array(0);
  return new EnginePair(
    new Side(createClientEngine(client), { verdict: accept(serverSpki), ...options.clientAnswers }),
    new Side(createServerEngine(server), { verdict: accept(clientSpki), ...options.serverAnswers }),
    options.cut,
  );
}

/** Both ends finished, agree, and carry data both ways. */
export function expectConnected(pair: EnginePair): void {
  const { client, server } = pair;
  expect(client.error, 'client error').to.equal(undefined);
  expect(server.error, 'server error').to.equal(undefined);
  expect(client.summary, 'client finished').not.to.equal(undefined);
  expect(server.summary, 'server finished').not.to.equal(undefined);
  const { peerCertificate: _, ...clientSummary } = client.summary ?? {};
  const { peerCertificate: __, ...serverSummary } = server.summary ?? {};
  expect(clientSummary).to.deep.equal(serverSummary);
  const exported = [client, server].map((side) =>
    side.engine.exportKeyingMaterial('EXPORTER-test', Uint8Array.of(1), 32),
  );
  expect(exported[0]).to.deep.equal(exported[1]);
  for (const [sender, receiver] of [
    [client, server],
    [server, client],
  ] as const) {
    const data = random(100);
    receiver.received = [];
    sender.take(sender.engine.send(data));
    pair.deliver();
    expect(receiver.received).to.deep.equal([...data]);
  }
}

/** One side fails with this code and alert, the other with the alert it got. */
export function expectFailure(pair: EnginePair, at: 'client' | 'server', code: string, alert: number): void {
  const [failing, told] = at === 'client' ? [pair.client, pair.server] : [pair.server, pair.client];
  expect(failing.error?.code, failing.error?.message ?? 'no failure').to.equal(code);
  expect(failing.error?.alert).to.equal(alert);
  expect(told.error?.code, told.error?.message ?? 'the other end was not told').to.equal('ERR_TLS_PEER_ALERT');
  expect(told.error?.alert).to.equal(alert);
}
