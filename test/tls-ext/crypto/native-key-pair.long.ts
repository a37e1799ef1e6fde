import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

describe('ephemeral keys under garbage collection', () => {
  it('20,000 exchanges with a tiny young generation end, in a process that could hang (see native-key-pair.ts)', () => {
    const script = `
      import { defaultKeyAgreements } from ${JSON.stringify(new URL('../../../tls-ext/crypto/groups.ts', import.meta.url).href)};
      const agreement = defaultKeyAgreements(0x001d);
      let kept = [];
      for (let i = 0; i < 20000; i++) {
        const client = agreement.generateKeyShare();
        const server = agreement.respond(client.share);
        kept.push(client.finish(server.share), { i }, [i]);
        if (kept.length > 100) kept = [];
      }
      console.log('done');
    `;
    const output = execFileSync(
      process.execPath,
      ['--max-semi-space-size=1', '--import', 'tsx', '--input-type=module', '--eval', script],
      { cwd: fileURLToPath(new URL('../../..', import.meta.url)), timeout: 300_000, encoding: 'utf8' },
    );
    expect(output).to.equal('done\n');
  });
});
