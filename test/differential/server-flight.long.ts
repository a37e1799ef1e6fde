import { expect } from 'chai';
import { compareClients } from './clients.ts';

const FIRST = 100_000;
const CASES = 4_000;

describe('what a server says, to our client and to OpenSSL’s, at length', () => {
  it(`changed in ${CASES} more ways: the same outcome, or one of the written differences`, async () => {
    expect((await compareClients(FIRST, CASES)).unexplained).to.deep.equal([]);
  });
});
