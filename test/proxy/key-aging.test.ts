import { mock } from 'node:test';
import { expect } from 'chai';
import { GRACE_MS, KeyAging } from '../../proxy/tunnel/key-aging.ts';

const LIMIT_MS = 60_000;

describe('keys that grow old', () => {
  let said: string[];
  let renewing: boolean;
  let connection: { dataBytes: number; halfClosed: boolean; setDataAlarm(): void };
  let aging: KeyAging;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] });
    said = [];
    renewing = false;
    connection = { dataBytes: 0, halfClosed: false, setDataAlarm: () => {} };
    aging = new KeyAging(
      connection,
      { timeMs: LIMIT_MS, connections: 1 },
      {
        seek: () => said.push('seek'),
        due: () => said.push('due'),
        expired: () => said.push('expired'),
        get renewing() {
          return renewing;
        },
      },
    );
    aging.start();
  });
  afterEach(() => {
    aging.stop();
    mock.timers.reset();
  });

  it('are sought in time, due at the limit, and end the connection if nothing comes of that', () => {
    mock.timers.tick(LIMIT_MS - 1);
    expect(said).to.deep.equal(['seek']);
    mock.timers.tick(1);
    expect(said).to.deep.equal(['seek', 'due']);
    // Refused: nothing was under way.
    aging.notRenewed();
    mock.timers.tick(GRACE_MS);
    expect(said).to.deep.equal(['seek', 'due', 'expired']);
  });

  it('are new after any rekey: it begins another period', () => {
    mock.timers.tick(LIMIT_MS);
    aging.start();
    mock.timers.tick(GRACE_MS);
    expect(said).to.deep.equal(['seek', 'due']);
    mock.timers.tick(LIMIT_MS - GRACE_MS);
    expect(said).to.deep.equal(['seek', 'due', 'seek', 'due']);
  });

  it('have a rekey under way waited for, and no longer than it may take', () => {
    renewing = true;
    mock.timers.tick(LIMIT_MS);
    expect(said).to.deep.equal(['seek']);
    mock.timers.tick(GRACE_MS);
    expect(said).to.deep.equal(['seek', 'due']);
    mock.timers.tick(GRACE_MS);
    expect(said).to.deep.equal(['seek', 'due', 'expired']);
  });

  it('do not end a connection of which one direction is closed: there is no rekey any more', () => {
    connection.halfClosed = true;
    mock.timers.tick(LIMIT_MS + GRACE_MS);
    expect(said).to.deep.equal(['seek', 'due']);
  });
});
