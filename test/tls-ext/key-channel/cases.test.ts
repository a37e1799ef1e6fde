import { runCase } from './case.ts';
import { channelCases } from './cases.ts';

describe('a misbehaving peer of the key channel', () => {
  for (const one of channelCases) it(one.name, () => runCase(one));
});
