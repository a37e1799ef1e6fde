import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import yargs from 'yargs';
import { ConfigError, configFromOptions, loadPsk, parseConfig, serviceOptions } from '../../proxy/config/index.ts';

/** A service with these settings, each line of which starts at line 11. */
function yamlOf(more: string): string {
  const lines = more.split('\n').map((line) => `    ${line}\n`);
  return `services:
  - name: db
    mode: client
    accept: '5432'
    connect: siteb:8443
    sae: siteA
    peer-sae: [siteB]
    cert: a.pem
    key: a.key
    ca: ca.pem
${lines.join('')}`;
}

const kmesOf = (more: string) => parseConfig(yamlOf(more), '/x/q.yaml').services[0]?.kmes ?? [];

function problemsOf(more: string): string[] {
  try {
    kmesOf(more);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ code, key, position, message }) => `${code} ${key}@${position?.line}: ${message}`);
  }
}

describe('proxy config: key managers', () => {
  it('are one URL, or a list in which each may have settings of its own before those of the service', () => {
    expect(kmesOf('kme: skip://k')).to.have.length(1);
    const [first, second] = kmesOf(`kme:
  - etsi014://k1
  - url: etsi014://k2:8443
    weight: 3
    kme-ca: other.pem
    min-key-age: 100ms
kme-ca: kca.pem
min-key-age: 1s
key-size-in-bytes: true
unknown-key-status: [404, 500]`);
    expect(first).to.deep.equal({
      url: 'etsi014://k1',
      weight: 1,
      access: { by: 'certificate', credentials: { cert: '/x/a.pem', key: '/x/a.key', ca: '/x/kca.pem' } },
      settings: {
        etsi014: { quirks: { keySizeInBytes: true, unknownKeyStatuses: [404, 500], minKeyAgeMs: 1_000 } },
      },
    });
    expect(second).to.deep.include({ url: 'etsi014://k2:8443', weight: 3 });
    expect(second?.access).to.have.nested.property('credentials.ca', '/x/other.pem');
    expect(second?.settings.etsi014?.quirks).to.include({ minKeyAgeMs: 100, keySizeInBytes: true });
  });

  it("take the maker's parameters of 014, each as NAME=VALUE", () => {
    const [kme] = kmesOf(`kme: etsi014://k
extension-mandatory: [abc_route_type=direct, abc_max_age=30000, 'x.y=a=b']
extension-optional: ['abc:list=["a",{"b":1}]', abc_none=, abc_text="7"]`);
    expect(kme?.settings.etsi014).to.deep.include({
      extensionMandatory: [{ abc_route_type: 'direct' }, { abc_max_age: 30_000 }, { 'x.y': 'a=b' }],
      extensionOptional: [{ 'abc:list': ['a', { b: 1 }] }, { abc_none: '' }, { abc_text: '7' }],
    });
    for (const wrong of ['abc', '=1', '[]', '[a b=1]']) {
      expect(problemsOf(`kme: etsi014://k\nextension-optional: ${wrong}`), wrong).to.have.length(1);
    }
    expect(problemsOf('kme: etsi014://k\nget-only: true\nextension-optional: [a=1]').join()).to.match(
      /^ERR_CONFIG_CONFLICT services\[0\]\.extension-optional@.*has no place in a GET request/,
    );
    expect(problemsOf('kme: skip://k\nextension-mandatory: [a=1]').join()).to.match(/is for etsi014:\/\/ key managers/);
  });

  it('take how long a connection of 004 is kept', () => {
    for (const [text, ms] of [
      ['0s', 0],
      ['2m', 120_000],
    ] as const) {
      const [kme] = kmesOf(`kme: etsi004://k?dialect=qubip\nkeep-connection: ${text}`);
      expect(kme?.settings.etsi004?.keepConnectionMs).to.equal(ms);
    }
    expect(problemsOf('kme: etsi014://k\nkeep-connection: 0s').join()).to.match(/is for etsi004:\/\/ key managers/);
  });

  it('take the whole QoS of 004', () => {
    const [kme] = kmesOf(`kme: etsi004://k?dialect=qubip
key-chunk-size: 4096
sae-uri: qkd://{sae}@site
qos-max-bps: 1
qos-min-bps: 2
qos-jitter: 3
qos-priority: 4
qos-timeout: 5s
qos-ttl: 6m
qos-metadata: false
qos-accept-min-bps: 7
qos-accept-min-ttl: 8s
qos-accept-max-timeout: 9s
qos-accept-min-chunk: 64
qos-accept-max-chunk: 8192`);
    expect(kme?.settings.etsi004).to.deep.equal({
      ksid: 'allocated',
      openAs: 'same',
      uriTemplate: 'qkd://{sae}@site',
      qos: {
        keysPerChunk: 128,
        maxBps: 1,
        minBps: 2,
        jitterBps: 3,
        priority: 4,
        timeoutMs: 5_000,
        ttlSeconds: 360,
        metadata: false,
      },
      qosBounds: {
        minBps: 7,
        minTtlSeconds: 8,
        maxTimeoutMs: 9_000,
        minKeyChunkSizeBytes: 64,
        maxKeyChunkSizeBytes: 8_192,
      },
    });
  });

  it('are repeated on the command line, where settings hold for all of them', () => {
    const options = ['--accept', '1', '--connect', 'b:2', '--sae', 'a', '--peer-sae', 'b'];
    const files = ['--cert', 'c', '--key', 'k', '--ca', 'ca'];
    const more = ['--kme', 'etsi014://k1', '--kme', 'etsi014://k2', '--unknown-key-status', '404', '--get-only'];
    const parser = serviceOptions(yargs(), 'client').parserConfiguration({ 'greedy-arrays': false });
    const argv = parser.parseSync([...options, ...files, ...more]) as Record<string, unknown>;
    const kmes = configFromOptions('client', argv).services[0]?.kmes ?? [];
    expect(kmes.map(({ url }) => url)).to.deep.equal(['etsi014://k1', 'etsi014://k2']);
    for (const { settings } of kmes) {
      expect(settings.etsi014?.quirks).to.deep.equal({ unknownKeyStatuses: [404], getOnly: true });
    }
  });

  describe('say what is wrong, where, and what is allowed', () => {
    const cases: readonly (readonly [string, string, string])[] = [
      [
        'a scheme that is no API',
        'kme: https://k',
        "ERR_CONFIG_VALUE services[0].kme@11: can't be used: scheme 'https://' of the KME URL does not name an API; write etsi014:// (or skip:// for a SKIP key provider)",
      ],
      [
        'two APIs',
        'kme: [etsi014://k1, skip://k2]',
        'ERR_CONFIG_CONFLICT services[0].kme[1]@11: is skip://, and key managers that stand in for each other must be of one API',
      ],
      [
        'a setting of another API',
        'kme: etsi014://k\nkey-chunk-size: 64',
        'ERR_CONFIG_CONFLICT services[0].key-chunk-size@12: is for etsi004:// key managers, and this one is etsi014://',
      ],
      [
        'the same within the list',
        'kme:\n  - url: etsi004://k\n    get-only: true',
        'ERR_CONFIG_CONFLICT services[0].kme[0].get-only@13: is for etsi014:// key managers, and this one is etsi004://',
      ],
      [
        'an unknown key within the list',
        'kme:\n  - url: etsi004://k\n    get_only: true',
        'ERR_CONFIG_UNKNOWN_KEY services[0].kme[0].get_only@13: is not known; did you mean get-only?',
      ],
      ['a mapping without URL', 'kme:\n  - weight: 2', 'ERR_CONFIG_MISSING_KEY services[0].kme[0].url@12: is missing'],
      [
        'a number',
        'kme: 4',
        'ERR_CONFIG_VALUE services[0].kme@11: is 4, must be a URL, or a list of URLs and of mappings with url',
      ],
      [
        'half a key in a chunk',
        'kme: etsi004://k\nkey-chunk-size: 48',
        'ERR_CONFIG_VALUE services[0].key-chunk-size@12: is 48, must be a multiple of 32',
      ],
      [
        'bounds without anything between them',
        'kme: etsi004://k\nqos-accept-min-chunk: 64\nqos-accept-max-chunk: 32',
        'ERR_CONFIG_CONFLICT services[0].qos-accept-min-chunk@12: is more than qos-accept-max-chunk, 32',
      ],
      [
        'a pre-shared key for 014',
        'kme: etsi014://k\nkme-psk: psk',
        'ERR_CONFIG_CONFLICT services[0].kme-psk@12: is for skip:// key managers, and this one is etsi014://',
      ],
      [
        'a pre-shared key and a certificate',
        'kme: skip://k\nkme-psk: psk\nkme-cert: c\nkme-key: k',
        'ERR_CONFIG_CONFLICT services[0].kme-psk@12: takes the place of kme-cert and kme-key',
      ],
      [
        'a quirk without a key manager',
        'min-key-age: 1s',
        'ERR_CONFIG_CONFLICT services[0].min-key-age@11: is of no use without kme',
      ],
    ];
    for (const [name, more, problem] of cases) it(name, () => expect(problemsOf(more)).to.deep.equal([problem]));
  });

  describe('a pre-shared key', () => {
    let directory: string;
    before(() => {
      directory = mkdtempSync(join(tmpdir(), 'qstunnel-psk-'));
    });
    after(() => rmSync(directory, { recursive: true, force: true }));

    const write = (text: string, mode = 0o600) => {
      const file = join(directory, `${Math.abs(text.length * 1_000 + mode)}.psk`);
      writeFileSync(file, text, { mode });
      return file;
    };

    it('is one line of identity and hex', async () => {
      const { identity, key, warnings } = await loadPsk(write(`siteA:${'0f'.repeat(32)}\n`));
      expect({ identity, warnings }).to.deep.equal({ identity: 'siteA', warnings: [] });
      expect(key).to.deep.equal(new Uint8Array(32).fill(15));
      const exposed = await loadPsk(write(`siteA:${'0f'.repeat(16)}`, 0o644));
      expect(exposed.warnings[0]).to.match(/has mode 0644/);
    });

    for (const text of ['', 'siteA', 'siteA:0f', `siteA:${'0f'.repeat(65)}`, `siteA:${'0g'.repeat(32)}`]) {
      it(`is refused as ${JSON.stringify(text.slice(0, 12))}, without being shown`, async () => {
        const error = await loadPsk(write(text)).catch((e: unknown) => e);
        expect(error).to.be.instanceOf(ConfigError).with.property('code', 'ERR_CONFIG_CREDENTIALS');
        expect((error as Error).message).not.to.include('0f0f');
      });
    }
  });
});
