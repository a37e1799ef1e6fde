/** Every case of the misbehaving peer. What each is for: docs/tls-requirements.md. */
import { runCase } from './case.ts';
import { allCases } from './cases/index.ts';

describe('a misbehaving peer', () => {
  for (const one of allCases) it(one.name, () => runCase(one));
});
