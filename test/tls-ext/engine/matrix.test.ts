/** Every value of every axis between our own ends, and handshakes cut anywhere or changed in any byte: many runs of each. */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  Alert,
  type CipherSuite,
  cipherSuites,
  type NamedGroup,
  namedGroups,
  signatureSchemes,
} from '../../../tls-ext/index.ts';
import {
  clientIdentity,
  enginePair,
  expectConnected,
  expectFailure,
  mlDsaIdentity,
  type PairOptions,
  qkdPsk,
  type TestIdentity,
  testIdentity,
} from './engine-pair.ts';

const identities: Readonly<Record<number, TestIdentity>> = (() => {
  const made = [
    ...(['P-256', 'P-384', 'ed25519', 'rsa', 'rsa-pss'] as const).map((type) => testIdentity(type)),
    ...(['ml-dsa-44', 'ml-dsa-65', 'ml-dsa-87'] as const).map((parameters) => mlDsaIdentity(parameters)),
  ];
  return Object.fromEntries(made.flatMap((identity) => identity.signatureSchemes.map((scheme) => [scheme, identity])));
})();

describe('every group, suite and signature scheme between our own ends', () => {
  for (const { codePoint: group, name: groupName } of namedGroups) {
    for (const { codePoint: suite, name: suiteName } of cipherSuites) {
      it(`${groupName} with ${suiteName} and every scheme`, () => {
        for (const { codePoint: scheme, name } of signatureSchemes) {
          const identity = identities[scheme] as TestIdentity;
          const pair = enginePair({
            client: { groups: [group], cipherSuites: [suite], signatureSchemes: [scheme] },
            server: {
              groups: [group],
              cipherSuites: [suite],
              identity: { ...identity, signatureSchemes: [scheme] },
            },
          }).run();
          expect(pair.client.error?.message, name).to.equal(undefined);
          expect(pair.client.summary?.group).to.equal(group satisfies NamedGroup);
          expect(pair.client.summary?.cipherSuite).to.equal(suite satisfies CipherSuite);
        }
      });
    }
  }
});

describe('a handshake in random pieces', () => {
  const options = (): PairOptions => ({
    client: { identity: clientIdentity, psk: qkdPsk(), qkdOffer: { offer: 'key' }, groups: [29, 23] },
    server: { requestClientCertificate: true, qkd: true, groups: [23] },
    serverAnswers: { psk: () => ({ action: 'use', psk: qkdPsk() }) },
  });

  it('completes however it is cut', () => {
    fc.assert(
      fc.property(fc.infiniteStream(fc.integer({ min: 1, max: 700 })), (sizes) => {
        const cut = (bytes: Uint8Array) => {
          const pieces: Uint8Array[] = [];
          for (let at = 0; at < bytes.length; ) {
            const size = sizes.next().value as number;
            pieces.push(bytes.subarray(at, at + size));
            at += size;
          }
          return pieces;
        };
        expectConnected(enginePair({ ...options(), cut }).run());
      }),
      { numRuns: 100 },
    );
  });

  it('refuses every single changed byte of what the client says, with an alert', () => {
    const length = enginePair(options()).run().wire[0]?.bytes.length ?? 0;
    for (let at = 5; at < length; at++) {
      const pair = enginePair(options());
      pair.server.take(pair.server.engine.start());
      pair.client.take(pair.client.engine.start());
      const [hello] = pair.client.outbox as [Uint8Array];
      hello[at] = (hello[at] as number) ^ 0x01;
      pair.deliver();
      const error = pair.server.error ?? pair.client.error;
      if (error === undefined) expect(pair.server.summary, `byte ${at} changed nothing`).to.equal(undefined);
      else expect(error.alert, `byte ${at}`).to.be.oneOf(Object.values(Alert));
      expect(error?.code).not.to.equal('ERR_TLS_INTERNAL');
    }
  });

  it('tells the peer of a failure under keys', () => {
    const pair = enginePair({ ...options(), clientAnswers: { verdict: () => refused } }).run();
    expectFailure(pair, 'client', 'ERR_TLS_PEER_CERTIFICATE', Alert.badCertificate);
  });
});

const refused = { ok: false, alert: Alert.badCertificate, error: new Error('another SAE') } as const;
