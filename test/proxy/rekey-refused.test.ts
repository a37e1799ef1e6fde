import { expect } from 'chai';
import type { TlsConnection } from '../../proxy/data-path/index.ts';
import { createLineLog } from '../../proxy/log.ts';
import { ClientRekeying } from '../../proxy/tunnel/client-rekeying.ts';
import { ConnectionJournal } from '../../proxy/tunnel/connection-journal.ts';
import { RekeyQueue } from '../../proxy/tunnel/rekey-queue.ts';
import type { ClientKeys } from '../../proxy/tunnel/settings.ts';

/** What the log of a client says when its request for other keys ends in this. */
function logOf(why: 'closed' | undefined) {
  const lines: object[] = [];
  const journal = new ConnectionJournal(
    createLineLog((line) => lines.push(JSON.parse(line))),
    { service: 's', role: 'client', connectionId: '1', clientAddress: '127.0.0.1:1' },
  );
  const lease = { keyId: 'key 1', psk: {}, commit: () => {}, release: () => {} };
  const queue = new RekeyQueue({});
  const rekeying = new ClientRekeying({
    connection: {
      rekeyPossible: true,
      rekey: () => {},
      dataBytes: 0,
      setDataAlarm: () => {},
    } as unknown as TlsConnection,
    ...{ peerSae: 'siteB', queue, demandsQkd: false, eager: false, limits: { timeMs: 0, connections: 1 } },
    keys: { takeForRekey: () => lease } as unknown as Pick<ClientKeys, 'takeForRekey'>,
    rekeyed: () => {},
    refused: (outcome) => journal.rekeyRefused(outcome),
    expired: () => {},
  });
  expect(rekeying.trySeek()).to.equal('started');
  rekeying.keyEvent({ type: 'rekey-refused', ...(why === undefined ? {} : { why }) });
  rekeying.stop();
  return lines;
}

describe('a rekey that came to nothing, in the log of the client', () => {
  it('is no matter of concern if the connection was closed first', () => {
    const [line] = logOf('closed');
    expect(line).to.include({ event: 'rekey-refused', level: 'info', keyId: 'key 1', why: 'closed' });
  });

  it('is a warning if the server refused it, which does not say why', () => {
    const [line] = logOf(undefined);
    expect(line).to.include({ event: 'rekey-refused', level: 'warn', keyId: 'key 1' }).and.not.have.property('why');
  });
});
