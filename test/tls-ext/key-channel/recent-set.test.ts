import { expect } from 'chai';
import { RecentSet } from '../../../tls-ext/key-channel/answerer-records.ts';

describe('what the answerer remembers of the past', () => {
  it('is bounded: the oldest is forgotten, and what is said again is new', () => {
    const recent = new RecentSet(3);
    for (const item of ['a', 'b', 'c', 'a', 'd']) recent.add(item);
    expect(['a', 'b', 'c', 'd'].map((item) => recent.has(item))).to.deep.equal([true, false, true, true]);
  });
});
