/** Runs a pair of engines with nothing left to chance, and records what an implementer needs to repeat it. */
import { createHash } from 'node:crypto';
import { concatBytes, utf8 } from '../../../tls-ext/bytes/index.ts';
import {
  cipherSuiteInfo,
  deterministicKeyAgreements,
  encodeQkdKeyReference,
  NamedGroup,
  namedGroupInfo,
  type QkdKeyReference,
  type QkdPsk,
  SecretBytes,
  SignatureScheme,
} from '../../../tls-ext/index.ts';
import { type EnginePair, enginePair, type PairOptions } from '../engine/engine-pair.ts';
import { traceHmacs } from './hmac-trace.ts';
import { plainSites, type VectorSites } from './identities.ts';
import { nameSecrets } from './secret-names.ts';
import type { Vector, VectorValue } from './vector-text.ts';
import { type Party, wireValues, withChannelMessages } from './wire-log.ts';

export const { drawer: DRAWER, answerer: ANSWERER } = plainSites;

/** Bytes that look random and are the same in every run: SHA-256(label || counter), cut or joined to length. */
export function fixedBytes(label: string, lengthBytes: number): Uint8Array {
  const blocks = Array.from({ length: Math.ceil(lengthBytes / 32) }, (_, counter) =>
    Uint8Array.from(createHash('sha256').update(`qstunnel vectors: ${label} ${counter}`).digest()),
  );
  return concatBytes(...blocks).slice(0, lengthBytes);
}

/** d and z of FIPS 203. */
const ML_KEM_SEED_BYTES = 64;

/** decodeScalar25519 of RFC 7748, 5: so that every digit of the vectors counts. */
function clamp(scalar: Uint8Array): void {
  scalar[0] = (scalar[0] as number) & 248;
  scalar[31] = ((scalar[31] as number) & 127) | 64;
}

export const references = {
  etsi004: { api: 'etsi004', drawer: DRAWER, ksid: fixedBytes('ksid', 16), index: 7, slice: 1 },
  etsi014: { api: 'etsi014', drawer: DRAWER, keyId: fixedBytes('014 key id', 16) },
  skip: { api: 'skip', drawer: DRAWER, keyId: fixedBytes('skip key id', 24) },
} as const satisfies Record<string, QkdKeyReference>;

/** What a scenario does with its connection, and the inputs that it shows. */
export class ConnectionRecorder {
  readonly inputs: VectorValue[] = [];
  readonly sites: VectorSites;
  readonly #vector: string;
  readonly #draws = new Set<string>();
  /** Of the key exchange under way. */
  #group = 0;
  /** Before names of private keys: `rekey_1_` and so on. */
  phase = '';

  constructor(vector: string, sites: VectorSites = plainSites) {
    this.#vector = vector;
    this.sites = sites;
  }

  input(name: string, bytes: Uint8Array): Uint8Array {
    this.inputs.push({ kind: 'input', name, bytes });
    return bytes;
  }

  /** A QKD key that both ends can take: a new object each time, since engines wipe what they get. */
  qkdKey(name: string, reference: QkdKeyReference, purpose: 'handshake' | 'rekey' = 'handshake'): () => QkdPsk {
    const secret = this.input(name, fixedBytes(`${this.#vector} ${name}`, 32));
    const { drawer, answerer } = this.sites;
    return () => ({
      kind: 'qkd',
      reference,
      context: { purpose, drawer, answerer },
      secret: SecretBytes.copyOf(secret),
    });
  }

  reference(name: string, reference: QkdKeyReference): void {
    this.input(name, encodeQkdKeyReference(reference));
  }

  /** Options of one end with everything random fixed. */
  end(party: Party) {
    let hellos = 0;
    const agreements = deterministicKeyAgreements((lengthBytes) => this.#draw(party, lengthBytes));
    return {
      groups: [NamedGroup.x25519MlKem768],
      signatureSchemes: [SignatureScheme.ed25519],
      random: (lengthBytes: number) => fixedBytes(`${this.#vector} ${party} random ${hellos++}`, lengthBytes),
      keyAgreements: (group: number) => {
        this.#group = group;
        return agreements(group);
      },
    };
  }

  #draw(party: Party, lengthBytes: number): Uint8Array {
    const isSeed = lengthBytes === ML_KEM_SEED_BYTES;
    const what = isSeed ? 'ml_kem_d' : this.#isMlKemMessage(party) ? 'ml_kem_m' : 'x25519_private';
    const base = `${this.phase}${party}_${what}`;
    const again = this.#draws.has(base);
    this.#draws.add(base);
    const name = again ? `${base}_again` : base;
    const bytes = fixedBytes(`${this.#vector} ${name}`, 32);
    if (what === 'x25519_private') clamp(bytes);
    this.input(name, bytes.slice());
    // z, of which nothing depends but implicit rejection, is zeros.
    return isSeed ? concatBytes(bytes, new Uint8Array(32)) : bytes;
  }

  /** A server draws ML-KEM's message first, then its X25519 key (see `deterministicKeyAgreements`). */
  #isMlKemMessage(party: Party): boolean {
    const postQuantum = namedGroupInfo(this.#group)?.postQuantum ?? false;
    return party === 'server' && postQuantum && !this.#draws.has(`${this.phase}server_ml_kem_m`);
  }
}

export interface Scenario {
  readonly name: string;
  readonly description: string;
  readonly cipherSuite: number;
  /** `unused`: both ends have some, but the handshake ends before. */
  readonly certificates: 'used' | 'unused' | 'none';
  /** Who the ends are, if not siteA and siteB. */
  readonly sites?: VectorSites;
  options(recorder: ConnectionRecorder): PairOptions;
  /** What happens after the handshake. */
  afterHandshake?(pair: EnginePair, recorder: ConnectionRecorder): void;
}

/** Runs a scenario and makes its vector. */
export function recordConnection(scenario: Scenario): Vector {
  const { sites = plainSites } = scenario;
  const recorder = new ConnectionRecorder(scenario.name, sites);
  let cookieKey: Uint8Array | undefined;
  const { result: pair, hmacs } = traceHmacs(() => {
    const options = scenario.options(recorder);
    cookieKey = options.server?.cookieKey;
    const certificates = scenario.certificates !== 'none';
    const both = { cipherSuites: [scenario.cipherSuite] };
    const pair = enginePair({
      ...options,
      client: {
        ...recorder.end('client'),
        ...both,
        grease: false,
        ...(certificates ? { identity: sites.client } : {}),
        ...options.client,
      },
      server: {
        ...recorder.end('server'),
        ...both,
        ...(certificates ? { identity: sites.server } : {}),
        requestClientCertificate: certificates,
        qkd: true,
        ...options.server,
      },
    }).run();
    scenario.afterHandshake?.(pair, recorder);
    return pair;
  });
  if (scenario.certificates === 'used') {
    recorder.input('ca_certificate', sites.caCertificate);
    recorder.input('client_certificate_key', sites.client.privateKey);
    recorder.input('server_certificate_key', sites.server.privateKey);
  }
  // In a resumption nobody is named.
  const isNamed = scenario.certificates === 'used' || recorder.inputs.some(({ name }) => name.endsWith('qkd_key'));
  const saes: VectorValue[] = [
    { kind: 'input', name: 'drawer', bytes: utf8(sites.drawer) },
    { kind: 'input', name: 'answerer', bytes: utf8(sites.answerer) },
  ];
  const inputs = isNamed ? [...saes, ...recorder.inputs] : recorder.inputs;
  const secrets = nameSecrets(hmacs, inputs, cookieKey);
  const suite = cipherSuiteInfo(scenario.cipherSuite);
  if (suite === undefined) throw new Error('unknown suite');
  const cipher = suite.aead.nodeName as Parameters<typeof wireValues>[2];
  const sent = wireValues(pair.wire, secrets, cipher);
  const isChannel = pair.client.summary?.alpnProtocol === 'qstunnel-key/1';
  return {
    name: scenario.name,
    description: scenario.description,
    values: [...inputs, ...(isChannel ? withChannelMessages(sent) : sent), ...secrets],
  };
}
