import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  ConfigError,
  type ConfigProblem,
  configJsonSchema,
  loadConfigFile,
  parseConfig,
} from '../../proxy/config/index.ts';

const CREDENTIALS = 'cert: a.pem\n    key: a.key\n    ca: /etc/ca.pem';

/** A configuration with one service; `more` is added to it, `accept` and `connect` replace the usual ones. */
function yamlOf(more = '', { mode = 'client', accept = '5432', connect = 'siteb:8443' } = {}): string {
  return `services:
  - name: db
    mode: ${mode}
    accept: ${accept}
    connect: ${connect}
    sae: siteA
    peer-sae: [siteB]
    ${CREDENTIALS}
${more
  .split('\n')
  .filter(Boolean)
  .map((line) => `    ${line}\n`)
  .join('')}`;
}

function problemsOf(yaml: string): readonly ConfigProblem[] {
  try {
    parseConfig(yaml, '/etc/q/qstunnel.yaml');
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError);
    const { problems, message } = error as ConfigError;
    expect(message).not.to.include('\n');
    return problems;
  }
  return [];
}

/** `CODE key@line: message` of the only problem. */
function problemOf(yaml: string): string {
  const problems = problemsOf(yaml);
  expect(problems, JSON.stringify(problems)).to.have.length(1);
  const { code, key, message, position } = problems[0] as ConfigProblem;
  return `${code} ${key ?? ''}@${position?.line ?? '?'}: ${message}`;
}

describe('proxy config: files', () => {
  it('fills in what was not written', () => {
    const { services, logLevel, drainTimeoutMs } = parseConfig(yamlOf(), '/etc/q/qstunnel.yaml');
    expect({ logLevel, drainTimeoutMs }).to.deep.equal({ logLevel: 'info', drainTimeoutMs: 30_000 });
    expect(services).to.deep.equal([
      {
        name: 'db',
        mode: 'client',
        accept: { host: '127.0.0.1', port: 5432 },
        connect: { host: 'siteb', port: 8443 },
        sae: 'siteA',
        peerSae: ['siteB'],
        auth: 'certificate',
        requireAuth: 'any',
        rekeyAfter: { timeMs: 3_600_000, connections: 100 },
        tickets: 0,
        credentials: { cert: '/etc/q/a.pem', key: '/etc/q/a.key', ca: '/etc/ca.pem' },
        kmes: [],
        kmeChoose: 'ordered',
        kmeFailBackMs: 60_000,
        keysAhead: 4,
        keysAheadMax: 256,
        keyTtlMs: 3_600_000,
        policy: { require: 'qkd-or-pqc', unsafeAllowClassical: false, keyWaitMs: 5_000 },
        limits: {
          maxConnections: 10_000,
          maxPendingHandshakes: 512,
          handshakeTimeoutMs: 10_000,
          connectTimeoutMs: 10_000,
          idleTimeoutMs: 43_200_000,
          halfClosedTimeoutMs: 600_000,
        },
        groups: ['X25519MLKEM768'],
        cipherSuites: ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256'],
        unsafeAllowSimulated: false,
        provenance: { unknown: 'allow' },
        budget: { reserve: 0, horizonMs: 60_000 },
      },
    ]);
  });

  it('takes every setting', () => {
    const yaml = `log-level: debug
drain-timeout: 1m
defaults:
  sae: siteA
  require: pqc
  kme: etsi004://kme-a:25575
${yamlOf(`require: qkd
verify-host: siteb.example
kme-cert: k.pem
kme-key: k.key
kme-ca: kca.pem
kme-server-name: kme
key-wait: 250ms
keys-ahead: 32
keys-ahead-max: 64
key-ttl: 2h
ksid: chosen
open-as: swapped
groups: [x25519, X25519MLKEM768]
cipher-suites: [TLS_AES_128_GCM_SHA256]
max-connections: 1
max-pending-handshakes: 2
handshake-timeout: 3s
connect-timeout: 4s
idle-timeout: 0s
half-closed-timeout: 5s
unsafe-allow-classical: true
unsafe-allow-simulated: true
unsafe-plaintext-off-loopback: true`).replace('    sae: siteA\n', '')}`;
    const { services, logLevel, drainTimeoutMs } = parseConfig(yaml, 'q.yaml');
    expect({ logLevel, drainTimeoutMs }).to.deep.equal({ logLevel: 'debug', drainTimeoutMs: 60_000 });
    const [service] = services;
    const cwd = process.cwd();
    expect(service?.sae).to.equal('siteA');
    expect(service?.policy).to.deep.equal({ require: 'qkd', unsafeAllowClassical: true, keyWaitMs: 250 });
    expect(service?.kmes).to.deep.equal([
      {
        url: 'etsi004://kme-a:25575',
        weight: 1,
        access: {
          by: 'certificate',
          credentials: { cert: `${cwd}/k.pem`, key: `${cwd}/k.key`, ca: `${cwd}/kca.pem` },
          serverName: 'kme',
        },
        settings: { etsi004: { ksid: 'chosen', openAs: 'swapped', qos: { keysPerChunk: 32 }, qosBounds: {} } },
      },
    ]);
    expect(service?.limits).to.deep.equal({
      maxConnections: 1,
      maxPendingHandshakes: 2,
      handshakeTimeoutMs: 3_000,
      connectTimeoutMs: 4_000,
      idleTimeoutMs: 0,
      halfClosedTimeoutMs: 5_000,
    });
    expect(service).to.deep.include({
      verifyHost: 'siteb.example',
      keysAhead: 32,
      keysAheadMax: 64,
      keyTtlMs: 7_200_000,
      groups: ['x25519', 'X25519MLKEM768'],
      cipherSuites: ['TLS_AES_128_GCM_SHA256'],
      unsafeAllowSimulated: true,
    });
  });

  it("uses the tunnel's credentials towards the key manager unless told otherwise", () => {
    const [plain] = parseConfig(yamlOf('kme: etsi004://k:1'), '/x/q.yaml').services;
    expect(plain?.kmes[0]?.access).to.deep.equal({
      by: 'certificate',
      credentials: { cert: '/x/a.pem', key: '/x/a.key', ca: '/etc/ca.pem' },
    });
    const [own] = parseConfig(yamlOf('kme: etsi004://k:1\nkme-ca: kca.pem'), '/x/q.yaml').services;
    expect(own?.kmes[0]?.access).to.deep.equal({
      by: 'certificate',
      credentials: { cert: '/x/a.pem', key: '/x/a.key', ca: '/x/kca.pem' },
    });
    const [bare] = parseConfig(yamlOf('kme: etsi004://k:1\nunsafe-plaintext-kme: true'), '/x/q.yaml').services;
    expect(bare?.kmes[0]?.access).to.deep.equal({ by: 'unsafe-plaintext' });
  });

  describe('says what is wrong, where, and what is allowed', () => {
    const cases: readonly (readonly [string, string, string])[] = [
      [
        'an unknown key',
        yamlOf('pear-sae: x'),
        'ERR_CONFIG_UNKNOWN_KEY services[0].pear-sae@11: is not known; did you mean peer-sae?',
      ],
      [
        'a key with underscores',
        yamlOf('key_wait: 5s'),
        'ERR_CONFIG_UNKNOWN_KEY services[0].key_wait@11: is not known; did you mean key-wait?',
      ],
      [
        'an unknown key at the top',
        `loglevel: info\n${yamlOf()}`,
        'ERR_CONFIG_UNKNOWN_KEY loglevel@1: is not known; did you mean log-level?',
      ],
      [
        'a choice',
        yamlOf('require: quantum'),
        'ERR_CONFIG_VALUE services[0].require@11: is "quantum", must be one of qkd-and-pqc, qkd, pqc, qkd-or-pqc',
      ],
      [
        'a time without unit',
        yamlOf('key-wait: 5'),
        'ERR_CONFIG_VALUE services[0].key-wait@11: is 5, must be a number with its unit, as in 500ms, 5s, 10m, 2h or 1d',
      ],
      [
        'a time that is too long',
        yamlOf('idle-timeout: 30d'),
        'ERR_CONFIG_VALUE services[0].idle-timeout@11: is longer than 24 days',
      ],
      [
        'a deadline of zero',
        yamlOf('handshake-timeout: 0s'),
        'ERR_CONFIG_VALUE services[0].handshake-timeout@11: must be longer than 0',
      ],
      [
        'a number out of range',
        yamlOf('keys-ahead: 0'),
        'ERR_CONFIG_VALUE services[0].keys-ahead@11: is 0, must be at least 1',
      ],
      [
        'a fraction',
        yamlOf('keys-ahead: 1.5'),
        'ERR_CONFIG_VALUE services[0].keys-ahead@11: is 1.5, must be a whole number',
      ],
      [
        'text for a flag',
        yamlOf('unsafe-allow-classical: maybe'),
        'ERR_CONFIG_VALUE services[0].unsafe-allow-classical@11: is "maybe", must be true or false',
      ],
      [
        'one for a list',
        yamlOf().replace('[siteB]', 'siteB'),
        'ERR_CONFIG_VALUE services[0].peer-sae@7: is "siteB", must be a list, as in [siteB]',
      ],
      [
        'an empty list',
        yamlOf().replace('[siteB]', '[]'),
        'ERR_CONFIG_VALUE services[0].peer-sae@7: must have at least one element',
      ],
      [
        'an SAE ID',
        yamlOf().replace('[siteB]', '[siteC, "a b"]'),
        'ERR_CONFIG_VALUE services[0].peer-sae[1]@7: is "a b", must be an SAE ID: a letter or digit, then up to 127 letters, digits or ASCII punctuation marks, without spaces',
      ],
      [
        'a name',
        yamlOf().replace('name: db', 'name: d b'),
        'ERR_CONFIG_VALUE services[0].name@2: is "d b", must be 1 to 64 letters, digits, ".", "_" or "-"',
      ],
      [
        'what is missing',
        yamlOf().replace('    sae: siteA\n', ''),
        'ERR_CONFIG_MISSING_KEY services[0].sae@2: is missing; write it here or under defaults',
      ],
      [
        'a missing mode',
        yamlOf().replace('    mode: client\n', ''),
        'ERR_CONFIG_MISSING_KEY services[0].mode@2: is missing',
      ],
      [
        'a key in place of its file',
        yamlOf().replace('a.key', '"-----BEGIN PRIVATE KEY-----"'),
        'ERR_CONFIG_VALUE services[0].key@9: holds PEM text; write the path of a file',
      ],
      [
        'a bound below what it bounds',
        yamlOf('keys-ahead: 8\nkeys-ahead-max: 7'),
        'ERR_CONFIG_CONFLICT services[0].keys-ahead-max@12: is less than keys-ahead, which is 8',
      ],
      [
        'ourselves as peer',
        yamlOf().replace('[siteB]', '[siteB, siteA]'),
        'ERR_CONFIG_CONFLICT services[0].peer-sae@7: names our own SAE siteA: nobody is their own peer',
      ],
      [
        'qkd without a key manager',
        yamlOf('require: qkd'),
        'ERR_CONFIG_CONFLICT services[0].require@11: qkd needs QKD keys, and there is no kme to give them',
      ],
      [
        'a default that does not fit',
        `defaults:\n  require: qkd\n${yamlOf()}`,
        'ERR_CONFIG_CONFLICT defaults.require@2: qkd needs QKD keys, and there is no kme to give them',
      ],
      [
        'classical groups only',
        yamlOf('groups: [x25519]'),
        'ERR_CONFIG_CONFLICT services[0].groups@11: has no post-quantum group, and qkd-or-pqc needs one, as X25519MLKEM768',
      ],
      [
        'half a credential',
        yamlOf('kme: etsi004://k:1\nkme-key: k'),
        'ERR_CONFIG_CONFLICT services[0].kme-key@12: needs kme-cert as well',
      ],
      [
        'a KME credential alone',
        yamlOf('kme-ca: k'),
        'ERR_CONFIG_CONFLICT services[0].kme-ca@11: is of no use without kme',
      ],
      [
        'a host of clients',
        yamlOf('verify-host: x', { mode: 'server', connect: '5433' }),
        'ERR_CONFIG_CONFLICT services[0].verify-host@11: is for services of mode client: the certificates of clients name no host',
      ],
      [
        'a circle',
        yamlOf('', { accept: '8443', connect: '127.0.0.1:8443' }),
        'ERR_CONFIG_CONFLICT services[0].connect@5: is the address that is accepted on, 127.0.0.1:8443',
      ],
      [
        'an address',
        yamlOf('', { connect: 'siteb' }),
        'ERR_CONFIG_VALUE services[0].connect@5: must be HOST:PORT, PORT (on loopback), [IPv6]:PORT or unix:/path',
      ],
      [
        'an address of a strange type',
        yamlOf('', { connect: '{a: 1}' }),
        'ERR_CONFIG_VALUE services[0].connect@5: is a mapping of keys, must be HOST:PORT, PORT (on loopback), [IPv6]:PORT or unix:/path',
      ],
      [
        'port 0 to connect to',
        yamlOf('', { connect: 'siteb:0' }),
        'ERR_CONFIG_VALUE services[0].connect@5: a port to connect to is 1 to 65535',
      ],
      [
        'plaintext in from elsewhere',
        yamlOf('', { accept: '0.0.0.0:5432' }),
        'ERR_CONFIG_PLAINTEXT services[0].accept@4: 0.0.0.0:5432 is the plaintext side and not loopback; write 127.0.0.1:5432 or unix:/path, or set unsafe-plaintext-off-loopback',
      ],
      [
        'plaintext out to elsewhere',
        yamlOf('', { mode: 'server', connect: 'db:5432' }),
        'ERR_CONFIG_PLAINTEXT services[0].connect@5: db:5432 is the plaintext side and not loopback; write 127.0.0.1:5432 or unix:/path, or set unsafe-plaintext-off-loopback',
      ],
      ['a list for a file', '- a', 'ERR_CONFIG_VALUE @1: is a list, must be a mapping of keys'],
      ['nothing at all', '', 'ERR_CONFIG_MISSING_KEY services@?: is missing'],
      ['no services', 'services: []', 'ERR_CONFIG_VALUE services@1: must have at least one element'],
      ['an empty service', 'services:\n  -', 'ERR_CONFIG_VALUE services[0]@2: is empty, must be a mapping of keys'],
    ];
    for (const [what, yaml, expected] of cases) {
      it(what, () => expect(problemOf(yaml)).to.equal(expected));
    }

    it('lists all of them, in the order of the file, with two services that clash', () => {
      const one = yamlOf('ksid: random');
      const two = yamlOf('frob: 1').replace('services:\n', '');
      const lines = problemsOf(one + two).map(({ position }) => position?.line);
      expect(lines).to.deep.equal([11, 21]);
      const clash = problemsOf(yamlOf() + yamlOf().replace('services:\n', ''));
      expect(clash.map(({ key, code }) => `${code} ${key}`)).to.deep.equal([
        'ERR_CONFIG_CONFLICT services[1].name',
        'ERR_CONFIG_CONFLICT services[1].accept',
      ]);
    });

    it('what is not YAML, or a bomb of aliases', () => {
      expect(problemOf('services: [')).to.match(/^ERR_CONFIG_SYNTAX @1: not YAML: /);
      expect(problemOf('services: []\nservices: []')).to.match(/^ERR_CONFIG_SYNTAX @2: not YAML: /);
      let bomb = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
      for (let i = 1; i < 9; i++)
        bomb += `a${i}: &a${i} [${Array(10)
          .fill(`*a${i - 1}`)
          .join(', ')}]\n`;
      expect(problemOf(`${bomb}services: *a8`)).to.match(/^ERR_CONFIG_SYNTAX /);
    });

    it('a file that is not there', async () => {
      const error = await loadConfigFile('/nonexistent/q.yaml').catch((e: ConfigError) => e);
      expect(error).to.be.instanceOf(ConfigError);
      expect((error as ConfigError).message).to.equal(
        '/nonexistent/q.yaml: the configuration file can not be read: it does not exist',
      );
    });

    it('a file without an end', async () => {
      const error = await loadConfigFile('/dev/zero').catch((e: ConfigError) => e);
      expect((error as ConfigError).message).to.equal(
        '/dev/zero: the configuration file can not be read: it has more than 1048576 bytes',
      );
    });
  });

  it('never throws anything but ConfigError', () => {
    const keys = ['services', 'defaults', 'name', 'mode', 'accept', 'peer-sae', 'sae', 'kme', 'groups', 'key-wait'];
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        fc.string(),
        fc.integer(),
        fc.constant(null),
        fc.boolean(),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(fc.oneof(fc.constantFrom(...keys), fc.string()), tie('any'), { maxKeys: 4 }),
      ),
    })).any;
    const total = (text: string) => {
      try {
        parseConfig(text, 'q.yaml');
      } catch (error) {
        return error instanceof ConfigError;
      }
      return true;
    };
    fc.assert(fc.property(value, (data) => total(JSON.stringify(data))));
    fc.assert(fc.property(fc.string(), total));
  });

  it('reads the limits of one key, and says what is wrong with them', () => {
    const limits = (text: string) => parseConfig(yamlOf(text), '/etc/q/qstunnel.yaml').services[0]?.rekeyAfter;
    expect(limits('rekey-after: {bytes: 64GiB}')).to.deep.equal({
      ...{ timeMs: 3_600_000, bytes: 64 * 2 ** 30, connections: 100 },
    });
    expect(limits('rekey-after: {time: 0s, connections: 5}')).to.deep.equal({ timeMs: 0, connections: 5 });
    const key = 'services[0].rekey-after';
    expect(problemOf(yamlOf('rekey-after: {tim: 1h}'))).to.equal(
      `ERR_CONFIG_UNKNOWN_KEY ${key}.tim@11: is not known; did you mean time?`,
    );
    expect(problemOf(yamlOf('rekey-after: 1h'))).to.match(/must be a mapping of time, bytes and connections/);
    expect(problemOf(yamlOf('rekey-after: {bytes: 64GB}'))).to.match(/is "64GB", must be a number with its unit/);
    expect(problemOf(yamlOf('rekey-after: {bytes: 0B}'))).to.match(/bytes must be more than 0/);
    expect(limits('rekey-after: {bytes: 8191TiB}')?.bytes).to.equal(8191 * 2 ** 40);
    expect(problemOf(yamlOf('rekey-after: {bytes: 8192TiB}'))).to.match(/bytes is more than 8191TiB/);
    expect(problemOf(yamlOf('tickets: 65'))).to.match(/tickets@11: is 65, must be at most 64/);
  });

  it('is described by the published JSON Schema', () => {
    const published = readFileSync(new URL('../../docs/qstunnel.schema.json', import.meta.url), 'utf8');
    expect(JSON.parse(published), 'run "npm run build && node scripts/config-schema.mjs"').to.deep.equal(
      configJsonSchema(),
    );
  });
});
