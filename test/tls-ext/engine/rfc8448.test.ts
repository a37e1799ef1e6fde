/**
 * RFC 8448's servers replayed against our client: its ClientHello and private
 * key are given, everything else is computed and must come out byte for byte.
 */
import { X509Certificate } from 'node:crypto';
import { expect } from 'chai';
import { cipherSuiteInfo, deterministicKeyAgreements } from '../../../tls-ext/crypto/index.ts';
import type { EngineEvent, EngineIdentity } from '../../../tls-ext/engine-types.ts';
import { clientHandshake, type FirstHello } from '../../../tls-ext/handshake/client-handshake.ts';
import {
  decodeCertificate,
  decodeCertificateVerify,
  decodeClientHello,
  defaultCodePoints,
  HANDSHAKE_HEADER_BYTES,
} from '../../../tls-ext/messages/index.ts';
import { TlsEndpoint } from '../../../tls-ext/tls-endpoint.ts';
import { stepsOf, type TraceStep } from '../rfc8448-traces.ts';
import { clientOptions } from './engine-pair.ts';

const bodyOf = (message: Uint8Array) => message.subarray(HANDSHAKE_HEADER_BYTES);

class Replay {
  readonly #steps: readonly TraceStep[];
  readonly endpoint: TlsEndpoint;
  readonly events: EngineEvent[] = [];

  constructor(section: string) {
    this.#steps = stepsOf(section);
    const hello = decodeClientHello(
      bodyOf(this.value('client', 'construct a ClientHello', 'ClientHello')),
      defaultCodePoints,
    );
    const privateKey = this.value('client', 'create an ephemeral x25519', 'private key');
    const keyShare = deterministicKeyAgreements(() => privateKey)(0x1d)?.generateKeyShare();
    if (keyShare === undefined) throw new Error('no x25519');
    const first: FirstHello = {
      message: this.value('client', 'construct a ClientHello', 'ClientHello'),
      offer: {
        hello,
        codePoints: defaultCodePoints,
        suites: hello.cipherSuites.flatMap((suite) => cipherSuiteInfo(suite) ?? []),
        groups: hello.extensions.supportedGroups ?? [],
        group: 0x1d,
        keyShare,
        psks: [],
        extensionTypes: hello.extensionList.map(({ type }) => type),
      },
    };
    const identity = this.#clientIdentity();
    const options = clientOptions({
      signatureSchemes: hello.extensions.signatureAlgorithms ?? [],
      ...(identity === undefined ? {} : { identity }),
    });
    this.endpoint = new TlsEndpoint('client', options, (wire) => clientHandshake(wire, options, () => first));
  }

  value(party: string, step: string, name: string): Uint8Array {
    const found = this.find(party, step, name);
    if (found === undefined) throw new Error(`no ${name} of ${party} ${step}`);
    return found;
  }

  find(party: string, step: string, name: string): Uint8Array | undefined {
    return this.#steps.find((s) => s.party === party && s.step.startsWith(step) && s.has(name))?.value(name);
  }

  /** Records of a party, in their order. */
  records(party: string): Uint8Array[] {
    return this.#steps
      .filter((s) => s.party === party && s.step.startsWith('send ') && s.has('complete record'))
      .map((s) => s.value('complete record'));
  }

  take(events: readonly EngineEvent[]): void {
    for (const event of events) {
      this.events.push(event);
      if (event.type !== 'peer-certificate') continue;
      const { publicKey } = new X509Certificate(Buffer.from(event.chain[0] as Uint8Array));
      const publicKeySpki = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
      this.take(this.endpoint.provideVerdict({ ok: true, publicKeySpki }));
    }
  }

  written(): Uint8Array[] {
    return this.events.flatMap((event) => (event.type === 'write' ? [event.bytes] : []));
  }

  /** The recorded certificate, and a "key" that makes the recorded signature. */
  #clientIdentity(): EngineIdentity | undefined {
    const certificate = this.find('client', 'construct a Certificate ', 'Certificate');
    const verify = this.find('client', 'construct a CertificateVerify', 'CertificateVerify');
    if (certificate === undefined || verify === undefined) return undefined;
    const { algorithm, signature } = decodeCertificateVerify(bodyOf(verify));
    return {
      chain: decodeCertificate(bodyOf(certificate)).certificateList.map(({ certData }) => certData),
      signatureSchemes: [algorithm],
      sign: () => signature,
    };
  }
}

describe('RFC 8448 through the engine', () => {
  it('Client Authentication: every record of the client, and data both ways', () => {
    const replay = new Replay('Client Authentication');
    const server = replay.records('server');
    const client = replay.records('client');
    replay.take(replay.endpoint.start());
    for (const record of server.slice(0, 2)) replay.take(replay.endpoint.receive(record));
    expect(replay.events.at(-1)?.type).to.equal('handshake-complete');
    replay.take(replay.endpoint.closeWrite());
    for (const record of server.slice(2)) replay.take(replay.endpoint.receive(record));
    expect(replay.written()).to.deep.equal(client);
    expect(replay.events.at(-1)?.type).to.equal('closed');
  });

  for (const section of ['Simple 1-RTT Handshake', 'Compatibility Mode']) {
    it(`${section}: up to its RSA key of 1024 bits, which we refuse`, () => {
      const replay = new Replay(section);
      replay.take(replay.endpoint.start());
      for (const record of replay.records('server').slice(0, 3)) replay.take(replay.endpoint.receive(record));
      const failure = replay.events.at(-1);
      expect(replay.events.some(({ type }) => type === 'peer-certificate')).to.equal(true);
      expect(failure?.type === 'failed' && failure.error.code).to.equal('ERR_TLS_PEER_CERTIFICATE');
      expect(replay.written()[0]).to.deep.equal(replay.records('client')[0]);
    });
  }
});
