import { expect } from 'chai';
import { createLineLog } from '../../proxy/log.ts';
import { ConnectionJournal } from '../../proxy/tunnel/connection-journal.ts';

describe('the log of a connection', () => {
  it('tells how long it waited until its handshake began, apart from the handshake', () => {
    const lines: { waitedMs: number; durationMs: number }[] = [];
    const passAMillisecond = (): void => {
      const until = performance.now() + 1;
      while (performance.now() < until);
    };
    const who = { service: 's', role: 'client', connectionId: '1', clientAddress: '127.0.0.1:1' } as const;
    const journal = new ConnectionJournal(
      createLineLog((line) => lines.push(JSON.parse(line))),
      who,
    );
    passAMillisecond();
    journal.handshakeStarts();
    passAMillisecond();
    journal.finish(undefined);
    const [{ waitedMs, durationMs }] = lines as [(typeof lines)[0]];
    expect(waitedMs).to.be.at.least(1);
    // Each is rounded to a hundredth.
    expect(durationMs - waitedMs).to.be.at.least(1 - 0.011);
  });
});
