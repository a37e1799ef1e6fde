import { expect } from 'chai';
import { differences } from './client-hello-differences.ts';
import { compareServers } from './servers.ts';

const FIRST = 100_000;
const CASES = 20_000;

describe('a ClientHello to our server and to OpenSSL’s, at length', () => {
  it(`changed in ${CASES} more ways: the same outcome, or one of the written differences, all of which occur`, async () => {
    const { explained, unexplained } = await compareServers(FIRST, CASES);
    expect(unexplained).to.deep.equal([]);
    expect(differences.filter((difference) => !explained.has(difference)).map(({ why }) => why)).to.deep.equal([]);
  });
});
