/** What the engine was given fails: a bug of ours, of which the peer hears `internal_error` and nothing else. */
import { expect } from 'chai';
import { keyAgreements } from '../../../tls-ext/crypto/groups.ts';
import type { KeyAgreementProvider } from '../../../tls-ext/crypto/index.ts';
import { Alert, defaultKeyAgreements, NamedGroup } from '../../../tls-ext/index.ts';
import { enginePair, expectFailure, type PairOptions, serverIdentity } from './engine-pair.ts';

const SECRET = 'secret detail';
const fails = (): never => {
  throw new Error(SECRET);
};

/** The runtime's, less one of its methods. */
const withFailing = (method: 'respond' | 'finish'): KeyAgreementProvider => {
  return (group) => {
    const whole = defaultKeyAgreements(group);
    if (whole === undefined) return undefined;
    if (method === 'respond') return { ...whole, respond: fails };
    return { ...whole, generateKeyShare: () => ({ ...whole.generateKeyShare(), finish: fails }) };
  };
};

/** ML-KEM that takes every key and can't open what comes back. */
const withoutDecapsulation: KeyAgreementProvider = keyAgreements((parameters) => ({
  parameters,
  generateKeyPair: () => {
    const lengthBytes = parameters === 'ml-kem-768' ? 1184 : 1568;
    return { encapsulationKey: new Uint8Array(lengthBytes), decapsulate: fails, wipe: () => {} };
  },
  encapsulate: fails,
}));

describe('a failure', () => {
  for (const [what, at, options] of [
    ['a key exchange', 'server', { server: { keyAgreements: withFailing('respond') } }],
    ["the client's half of one", 'client', { client: { keyAgreements: withFailing('finish') } }],
    [
      'a decapsulation',
      'client',
      {
        client: { keyAgreements: withoutDecapsulation, groups: [NamedGroup.x25519MlKem768] },
        server: { groups: [NamedGroup.x25519MlKem768] },
      },
    ],
    ['a signature', 'server', { server: { identity: { ...serverIdentity, sign: fails } } }],
    ["policy's word on the handshake", 'client', { client: { admit: fails } }],
  ] as const satisfies readonly (readonly [string, 'client' | 'server', PairOptions])[]) {
    it(`of ${what} is internal_error, and the peer learns no more`, () => {
      const pair = enginePair(options).run();
      expectFailure(pair, at, 'ERR_TLS_INTERNAL', Alert.internalError);
      expect(pair[at].error?.message, 'not for a log line').not.to.include(SECRET);
      expect(pair[at].error?.cause, 'for a debugger').to.have.property('message', SECRET);
      expect(pair.client.summary ?? pair.server.summary).to.equal(undefined);
    });
  }
});
