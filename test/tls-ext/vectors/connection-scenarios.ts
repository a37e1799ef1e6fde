/** The connections of the vectors, handshakes first. */
import { expect } from 'chai';
import { utf8 } from '../../../tls-ext/bytes/index.ts';
import { Alert, CipherSuite, NamedGroup, type PskDecision, type QkdPsk } from '../../../tls-ext/index.ts';
import { type EnginePair, expectFailure, type PairOptions } from '../engine/engine-pair.ts';
import { type ConnectionRecorder, references, type Scenario } from './connection-recorder.ts';
import { punctuatedSites } from './identities.ts';

type Api = keyof typeof references;

const apiNames: Readonly<Record<Api, string>> = {
  etsi004: 'ETSI GS QKD 004',
  etsi014: 'ETSI GS QKD 014',
  skip: 'SKIP',
};

const use = (psk: QkdPsk): PskDecision => ({ action: 'use', psk });

/** Both ends say one thing and close: enough to show the application keys and both close_notify alerts. */
export function exchange(pair: EnginePair, recorder: ConnectionRecorder): void {
  expect(pair.client.summary, 'client finished').not.to.equal(undefined);
  expect(pair.server.summary, 'server finished').not.to.equal(undefined);
  say(pair, 'client', 'ping');
  say(pair, 'server', 'pong');
  exportValues(pair, recorder);
  close(pair);
}

export function say(pair: EnginePair, from: 'client' | 'server', text: string): void {
  const receiver = pair[from === 'client' ? 'server' : 'client'];
  receiver.received = [];
  pair[from].take(pair[from].engine.send(utf8(text)));
  pair.deliver();
  expect(receiver.received).to.deep.equal([...utf8(text)]);
}

export function close(pair: EnginePair): void {
  for (const side of [pair.client, pair.server]) {
    side.take(side.engine.closeWrite());
    pair.deliver();
  }
}

/** Of the handshake and, if it is another one, of the epoch that the connection is in. */
export function exportValues(pair: EnginePair, recorder: ConnectionRecorder): void {
  const label = 'EXPORTER-qstunnel-vectors';
  const context = recorder.input('exporter_context', utf8('context'));
  recorder.input('exporter_label', utf8(label));
  pair.client.engine.exportKeyingMaterial(label, context, 32);
  pair.client.engine.exportEpochKeyingMaterial(label, context, 32);
}

/** A key that both ends hold, offered and used. */
export function usedKey(recorder: ConnectionRecorder, api: Api): { key: () => QkdPsk; options: PairOptions } {
  const reference = { ...references[api], drawer: recorder.sites.drawer };
  const key = recorder.qkdKey('qkd_key', reference);
  recorder.reference('qkd_reference', reference);
  return {
    key,
    options: {
      client: { psk: key(), qkdOffer: { offer: 'key' } },
      serverAnswers: { psk: () => use(key()) },
    },
  };
}

function withCertificates(api: Api, cipherSuite: number, suiteName: string): Scenario {
  return {
    name: `used-${api}-certificates`,
    description: `A QKD key over ${apiNames[api]} beside certificates of both ends (extension 33), ${suiteName}.`,
    cipherSuite,
    certificates: 'used',
    options: (recorder) => usedKey(recorder, api).options,
    afterHandshake: exchange,
  };
}

function pskOnly(api: Api, cipherSuite: number, suiteName: string): Scenario {
  return {
    name: `used-${api}-psk-only`,
    description: `A QKD key over ${apiNames[api]} that alone authenticates: no extension 33, no certificates, ${suiteName}.`,
    cipherSuite,
    certificates: 'none',
    options: (recorder) => {
      const { options } = usedKey(recorder, api);
      return { ...options, client: { ...options.client, auth: 'psk' }, server: { auth: 'psk' } };
    },
    afterHandshake: exchange,
  };
}

function helloRetryRequest(api: Api, cookie: boolean): Scenario {
  return {
    name: `used-${api}-hello-retry-request${cookie ? '-cookie' : ''}`,
    description: `A QKD key over ${apiNames[api]} with certificates, whose client sends a share of X25519 first and is asked for X25519MLKEM768${cookie ? ', with a cookie' : ''}. It offers suites of both hashes: the second ClientHello has lost the identity that doesn't fit the selected one.`,
    cipherSuite: CipherSuite.aes256GcmSha384,
    certificates: 'used',
    options: (recorder) => {
      const { options } = usedKey(recorder, api);
      return {
        ...options,
        client: {
          ...options.client,
          groups: [NamedGroup.x25519, NamedGroup.x25519MlKem768],
          cipherSuites: [CipherSuite.aes128GcmSha256, CipherSuite.aes256GcmSha384],
        },
        server: {
          groups: [NamedGroup.x25519MlKem768],
          ...(cookie ? { cookieKey: new Uint8Array(32).fill(0xc0) } : {}),
        },
      };
    },
    afterHandshake: exchange,
  };
}

/** Mode `qkd`, where a setting allows it: nothing but the key withstands a quantum computer. */
const withoutMlKem: Scenario = {
  name: 'used-etsi004-x25519',
  description: 'A QKD key over ETSI GS QKD 004 with certificates and the group X25519, without ML-KEM: mode qkd.',
  cipherSuite: CipherSuite.aes256GcmSha384,
  certificates: 'used',
  options: (recorder) => {
    const { options } = usedKey(recorder, 'etsi004');
    const groups = [NamedGroup.x25519];
    return { ...options, client: { ...options.client, groups }, server: { groups } };
  },
  afterHandshake: exchange,
};

const punctuatedSaeIds: Scenario = {
  name: 'used-skip-punctuated-sae-ids',
  description: 'A QKD key over SKIP with certificates whose SAE IDs have characters that the URI percent-encodes.',
  cipherSuite: CipherSuite.aes256GcmSha384,
  certificates: 'used',
  sites: punctuatedSites,
  options: (recorder) => usedKey(recorder, 'skip').options,
  afterHandshake: exchange,
};

const notOffered: Scenario = {
  name: 'fallback-not-offered',
  description: 'The client offers nothing and says pool_empty; the server answers not_offered.',
  cipherSuite: CipherSuite.aes256GcmSha384,
  certificates: 'used',
  options: () => ({
    client: { qkdOffer: { offer: 'none', reason: 'pool_empty' } },
    serverAnswers: { psk: () => ({ action: 'continue', result: 'unavailable' }) },
  }),
  afterHandshake: exchange,
};

function fallback(result: 'unavailable' | 'policy'): Scenario {
  return {
    name: `fallback-${result}`,
    description: `A key is offered, and the server answers ${result}: the same handshake with certificates alone.`,
    cipherSuite: CipherSuite.aes256GcmSha384,
    certificates: 'used',
    options: (recorder) => ({
      ...usedKey(recorder, 'etsi014').options,
      serverAnswers: { psk: () => ({ action: 'continue', result }) },
    }),
    afterHandshake: exchange,
  };
}

function refusal(result: 'unavailable' | 'policy'): Scenario {
  return {
    name: `refusal-${result}`,
    description: `A key is offered; the server's policy forbids to go on without one. It answers ${result} and then, under encryption, insufficient_security.`,
    cipherSuite: CipherSuite.aes256GcmSha384,
    certificates: 'unused',
    options: (recorder) => ({
      ...usedKey(recorder, 'etsi014').options,
      serverAnswers: { psk: () => ({ action: 'refuse', result }) },
    }),
    afterHandshake: (pair) =>
      expectFailure(pair, 'server', 'ERR_TLS_INSUFFICIENT_SECURITY', Alert.insufficientSecurity),
  };
}

function binderFailure(certificates: boolean): Scenario {
  return {
    name: `binder-failure-${certificates ? 'certificates' : 'psk-only'}`,
    description: `The server's key under the same reference is another one (server_qkd_key): the binder does not verify, which is ${certificates ? 'illegal_parameter with extension 33' : 'decrypt_error without extension 33'}, in clear.`,
    cipherSuite: CipherSuite.aes256GcmSha384,
    certificates: certificates ? 'unused' : 'none',
    options: (recorder) => {
      const { options } = usedKey(recorder, 'etsi014');
      const other = recorder.qkdKey('server_qkd_key', references.etsi014);
      return {
        ...options,
        ...(certificates
          ? {}
          : { client: { ...options.client, auth: 'psk' as const }, server: { auth: 'psk' as const } }),
        serverAnswers: { psk: () => use(other()) },
      };
    },
    afterHandshake: (pair) =>
      expectFailure(pair, 'server', 'ERR_TLS_BAD_BINDER', certificates ? Alert.illegalParameter : Alert.decryptError),
  };
}

export const handshakeScenarios: readonly Scenario[] = [
  withCertificates('etsi014', CipherSuite.aes256GcmSha384, 'TLS_AES_256_GCM_SHA384'),
  withCertificates('etsi004', CipherSuite.aes128GcmSha256, 'TLS_AES_128_GCM_SHA256'),
  withCertificates('skip', CipherSuite.chacha20Poly1305Sha256, 'TLS_CHACHA20_POLY1305_SHA256'),
  pskOnly('etsi014', CipherSuite.aes256GcmSha384, 'TLS_AES_256_GCM_SHA384'),
  pskOnly('etsi004', CipherSuite.aes256GcmSha384, 'TLS_AES_256_GCM_SHA384'),
  pskOnly('skip', CipherSuite.aes128GcmSha256, 'TLS_AES_128_GCM_SHA256'),
  helloRetryRequest('etsi004', false),
  helloRetryRequest('etsi014', true),
  withoutMlKem,
  punctuatedSaeIds,
  notOffered,
  fallback('unavailable'),
  fallback('policy'),
  refusal('unavailable'),
  refusal('policy'),
  binderFailure(true),
  binderFailure(false),
];
