import { expect } from 'chai';
import { ConfigError, configFromOptions, parseConfig, type ServiceConfig } from '../../proxy/config/index.ts';

const KME = 'kme: etsi014://kme\nkme-cert: k.pem\nkme-key: k.key\nkme-ca: kca.pem';

function yamlOf(more: string, mode = 'client'): string {
  const lines = more.split('\n').map((line) => `    ${line}\n`);
  return `services:
  - name: s
    mode: ${mode}
    accept: 5432
    connect: 127.0.0.1:8443
    sae: siteA
    peer-sae: [siteB]
    auth: psk
${lines.join('')}`;
}

const serviceOf = (more: string, mode?: string) =>
  parseConfig(yamlOf(more, mode), '/etc/q.yaml').services[0] as ServiceConfig;

function problemsOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError);
    return (error as ConfigError).problems.map(({ code, key, message }) => `${code} ${key}: ${message}`);
  }
  return [];
}

describe('proxy config: auth psk', () => {
  it('needs no certificates but those for the key manager, and demands QKD of every connection', () => {
    const service = serviceOf(KME);
    expect(service).not.to.have.property('credentials');
    expect(service.kmes[0]?.access).to.deep.equal({
      by: 'certificate',
      credentials: { cert: '/etc/k.pem', key: '/etc/k.key', ca: '/etc/kca.pem' },
    });
    expect(service.policy).to.include({ require: 'qkd', because: 'auth: psk' });
    expect(service.cipherSuites).to.deep.equal(['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256']);
    const both = 'cipher-suites: [TLS_AES_256_GCM_SHA384, TLS_AES_128_GCM_SHA256]';
    expect(serviceOf(`${KME}\n${both}`).cipherSuites).to.deep.equal(['TLS_AES_128_GCM_SHA256']);
    expect(serviceOf(`${KME}\nrequire: pqc`).policy.require).to.equal('qkd-and-pqc');
  });

  it('takes cert, key and ca for the key manager, as elsewhere', () => {
    const { kmes } = serviceOf('kme: skip://kme\ncert: a.pem\nkey: a.key\nca: ca.pem', 'server');
    expect(kmes[0]?.access).to.deep.include({
      credentials: { cert: '/etc/a.pem', key: '/etc/a.key', ca: '/etc/ca.pem' },
    });
  });

  const rows: readonly (readonly [string, string, string | undefined, RegExp])[] = [
    ['without a key manager', 'require: qkd', undefined, /^ERR_CONFIG_CONFLICT .*auth: psk .* no kme/],
    [
      'without credentials for it',
      'kme: etsi014://kme\nkme-cert: a\nkme-key: b',
      undefined,
      /^ERR_CONFIG_MISSING_KEY .*kme-ca/,
    ],
    ['as server over 004', KME.replace('etsi014', 'etsi004'), 'server', /^ERR_CONFIG_CONFLICT .*kme: .* 004/],
    [
      'with SHA-384 only',
      `${KME}\ncipher-suites: [TLS_AES_256_GCM_SHA384]`,
      undefined,
      /cipher-suites: has no suite with SHA-256/,
    ],
    ['with require-auth: pq', `${KME}\nrequire-auth: pq`, undefined, /require-auth: is about certificates/],
    ['with remember', `${KME}\nremember: 1d`, undefined, /remember: has nothing to remember/],
    ['with verify-host', `${KME}\nverify-host: b.example`, undefined, /verify-host: has no certificate/],
    [
      'with a classical group where pqc is required',
      `${KME}\ngroups: [x25519]\nrequire: pqc`,
      undefined,
      /groups: has no post-quantum group/,
    ],
  ];
  for (const [what, more, mode, expected] of rows) {
    it(`refuses it ${what}`, () => {
      const problems = problemsOf(() => serviceOf(more, mode));
      expect(problems, problems.join('\n')).to.have.length(1);
      expect(problems[0]).to.match(expected);
    });
  }

  it('refuses it with two peers', () => {
    const yaml = yamlOf(KME).replace('[siteB]', '[siteB, siteC]');
    expect(problemsOf(() => parseConfig(yaml, '/etc/q.yaml'))).to.deep.equal([
      'ERR_CONFIG_CONFLICT services[0].peer-sae: names one SAE with auth: psk: the one that the key manager is asked about',
    ]);
  });

  it('is the same on the command line', () => {
    const options = { accept: '1', connect: '2', sae: 'a', 'peer-sae': ['b'], auth: 'psk' };
    const kme = { kme: 'etsi014://kme', cert: 'a.pem', key: 'a.key', ca: 'ca.pem' };
    expect(configFromOptions('client', { ...options, ...kme }).services[0]).to.include({ auth: 'psk' });
    expect(problemsOf(() => configFromOptions('client', options))).to.deep.equal([
      'ERR_CONFIG_CONFLICT --auth: psk authenticates by keys, and there is no --kme to give them',
    ]);
    const { auth: _, ...certificate } = options;
    expect(problemsOf(() => configFromOptions('client', certificate)).join()).to.match(/--cert: is missing/);
  });
});
