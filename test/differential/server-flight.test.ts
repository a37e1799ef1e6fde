/** The same change of what a server says, to our client and to OpenSSL's: the same outcome, or a written reason. */
import { expect } from 'chai';
import { compareClients } from './clients.ts';
import { askOpensslClient } from './openssl-client.ts';
import { askOurClient } from './our-client.ts';
import { explain } from './server-flight-differences.ts';
import { changedServer } from './server-flights.ts';
import { serverScripts } from './server-scripts.ts';

const CASES = 500;

describe('what a server says, to our client and to OpenSSL’s', () => {
  it('unchanged: both take it, with all that stands in front of the data', async () => {
    for (const { script, psk } of serverScripts) {
      expect(askOurClient(script, psk).outcome).to.equal('data');
      expect(await askOpensslClient(script, psk)).to.deep.equal({ outcome: 'data', reason: undefined });
    }
  });

  it(`changed in ${CASES} seeded ways: the same outcome, or one of the written differences`, async function () {
    this.timeout(120_000);
    const { same, unexplained } = await compareClients(1, CASES);
    expect(unexplained).to.deep.equal([]);
    // The changes are of use only if they lead everywhere, behind encryption too.
    for (const outcome of [
      'data',
      'nothing',
      'decode_error',
      'illegal_parameter',
      'unexpected_message',
      'decrypt_error',
    ]) {
      expect(same.get(outcome) ?? 0, outcome).to.be.greaterThan(3);
    }
  });

  it('every message of a server is changed, and cases are always the same', () => {
    const changed = Array.from({ length: CASES }, (_, i) => changedServer(i + 1).changes);
    expect(changed).to.deep.equal(Array.from({ length: CASES }, (_, i) => changedServer(i + 1).changes));
    const names = new Set(serverScripts.flatMap(({ script }) => script.filter(({ kind }) => kind === 'send')));
    expect(names.size).to.be.greaterThan(8);
    for (const { name } of names) {
      expect(changed.filter((changes) => changes.startsWith(name)).length, name).to.be.greaterThan(5);
    }
  });

  it('no written difference lets our client go on where OpenSSL refuses, but for those that say so', () => {
    for (const reason of [
      'BAD_SIGNATURE',
      'DIGEST_CHECK_FAILED',
      'BAD_KEY_SHARE',
      'WRONG_CIPHER_RETURNED',
      'BAD_PSK',
    ]) {
      for (const alert of ['decrypt_error', 'illegal_parameter', 'unexpected_message']) {
        for (const what of [
          'CertificateVerify with a bit changed',
          'ServerHello with another field',
          'Finished sent again',
        ]) {
          expect(explain(`data: undefined [${what}]`, `${alert}: ERR_SSL_${reason}`)).to.equal(undefined);
        }
      }
    }
    expect(explain('data: x [Certificate left out]', 'unexpected_message: ERR_SSL_UNEXPECTED_MESSAGE')).to.equal(
      undefined,
    );
    expect(explain('decrypt_error: x [Finished with a bit changed]', 'data: undefined')).to.equal(undefined);
  });
});
