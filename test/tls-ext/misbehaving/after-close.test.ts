/** What a peer may still say when we have sent close_notify and rekeying was on. */
import { expect } from 'chai';
import { encodeKeyUpdate, encodeRekeyRequest, KeyUpdateRequest } from '../../../tls-ext/messages/index.ts';
import { type Outcome, runAgainst } from './handshakes.ts';
import type { Role, ScriptedPeer } from './scripted-peer.ts';
import { insteadOf } from './scripts.ts';

const firstStep = { client: 'rekey_wanted', server: 'rekey_request' } as const;

/** A connection that our side has closed. */
function closed(role: Role): Outcome {
  const outcome = runAgainst(role, { psk: 'beside-certificates', rekey: 'with-key' }, insteadOf(firstStep[role]));
  outcome.side.take(outcome.side.engine.closeWrite());
  return outcome;
}

function says({ side, peer }: Outcome, say: (peer: ScriptedPeer) => void): void {
  say(peer);
  for (const bytes of peer.outbox.splice(0)) side.take(side.engine.receive(bytes));
}

describe('after our close_notify', () => {
  for (const role of ['client', 'server'] as const) {
    it(`KeyUpdate of the ${role}'s peer is taken, with data behind it`, () => {
      const outcome = closed(role);
      says(outcome, (peer) => {
        peer.send(encodeKeyUpdate(KeyUpdateRequest.updateNotRequested));
        peer.updateSendingKeys();
        peer.record(23, Uint8Array.of(4, 5));
      });
      expect(outcome.side.error).to.equal(undefined);
      expect(outcome.side.received).to.deep.equal([4, 5]);
    });

    it(`KeyUpdate is not asked for by a peer that we have closed towards: ${role}`, () => {
      const outcome = closed(role);
      says(outcome, (peer) => peer.send(encodeKeyUpdate(KeyUpdateRequest.updateRequested)));
      expect(outcome.side.error?.code).to.equal('ERR_TLS_UNEXPECTED_MESSAGE');
    });
  }

  it('one rekey_request may have crossed it, a second may not', () => {
    const outcome = closed('server');
    const request = encodeRekeyRequest({ epoch: 1, keyShare: { group: 29, keyExchange: new Uint8Array(32).fill(9) } });
    says(outcome, (peer) => peer.send(request));
    expect(outcome.side.error).to.equal(undefined);
    says(outcome, (peer) => peer.send(request));
    expect(outcome.side.error?.code).to.equal('ERR_TLS_UNEXPECTED_MESSAGE');
  });
});
