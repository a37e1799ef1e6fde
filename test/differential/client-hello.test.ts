/** The same ClientHello, changed in some way or other, to our server and to OpenSSL's: the same outcome, or a written reason. */
import { expect } from 'chai';
import { plaintextRecord } from '../tls-ext/record/record-fixtures.ts';
import { explain } from './client-hello-differences.ts';
import { changedHello, seeds } from './client-hellos.ts';
import { askOpenssl } from './openssl-server.ts';
import { askOurs } from './our-server.ts';
import { outcomeOf } from './outcome.ts';
import { compareServers } from './servers.ts';

const CASES = 1_000;

describe('a ClientHello to our server and to OpenSSL’s', () => {
  it('unchanged: both accept it, with the same suite and group', async () => {
    for (const message of seeds) {
      const bytes = plaintextRecord(22, message, 0x0301);
      const outcome = outcomeOf(askOurs(bytes).bytes);
      expect(outcome).to.match(/^(?:hello|retry) 1302 (?:1d|17)$/);
      expect(outcomeOf((await askOpenssl(bytes)).bytes)).to.equal(outcome);
    }
  });

  it(`changed in ${CASES} seeded ways: the same outcome, or one of the written differences`, async function () {
    this.timeout(120_000);
    const { same, unexplained } = await compareServers(1, CASES);
    expect(unexplained).to.deep.equal([]);
    // The changes are of use only if they lead everywhere.
    for (const outcome of ['hello', 'retry', 'decode_error', 'illegal_parameter', 'missing_extension', 'nothing']) {
      expect(same.get(outcome) ?? 0, outcome).to.be.greaterThan(3);
    }
  });

  it('cases are always the same bytes', () => {
    expect(changedHello(7)).to.deep.equal(changedHello(7));
    expect(changedHello(7)).not.to.deep.equal(changedHello(8));
  });

  it('no written difference lets one end accept what the other refuses for a fault that matters', () => {
    expect(explain('hello 1302 1d: x', 'illegal_parameter: ERR_SSL_BAD_KEY_SHARE')).to.equal(undefined);
    expect(explain('hello 1302 1d: x', 'missing_extension: ERR_SSL_NO_SUITABLE_KEY_SHARE')).to.equal(undefined);
    expect(explain('handshake_failure: x', 'hello 1302 1d: undefined')).to.equal(undefined);
    expect(explain('nothing: x', 'hello 1302 1d: undefined')).to.equal(undefined);
  });
});
