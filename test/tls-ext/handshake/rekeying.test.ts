/** When a rekey may begin, how often, and what becomes of one that comes when it is too late. */
import { expect } from 'chai';
import type { Directions } from '../../../tls-ext/handshake/epoch.ts';
import { MAX_IDLE_REKEY_REQUESTS, MessageAllowance } from '../../../tls-ext/handshake/message-allowance.ts';
import { OWN_REKEY_SHARE, Rekeying, type RekeyingWire } from '../../../tls-ext/handshake/rekeying.ts';
import type { Session } from '../../../tls-ext/handshake/session.ts';
import { Alert, CipherSuite, cipherSuiteInfo, TlsMisuseError } from '../../../tls-ext/index.ts';
import { expectConnected } from '../engine/engine-pair.ts';
import { askedPair, expectEpoch, rekey, rekeyEvents, rekeyKey, rekeyPair } from '../engine/rekey-pair.ts';
import { clientScript, type Outcome, runAgainst } from '../misbehaving/handshakes.ts';
import { serverRekeySteps } from '../misbehaving/rekey-steps.ts';
import { nothing, runStep, type Script, type Step } from '../misbehaving/scripts.ts';

const scenario = { psk: 'beside-certificates', rekey: 'later' } as const;
const REQUEST = 'rekey_request';

/** A server that has said close_notify, and a client that has not heard it. */
function closedServer(): Outcome {
  const untilRequest = (script: Script) =>
    script.slice(
      0,
      script.findIndex(({ name }) => name === REQUEST),
    );
  const outcome = runAgainst('server', scenario, untilRequest);
  outcome.side.take(outcome.side.engine.closeWrite());
  return outcome;
}

/** The client's request, right for its connection unless it is changed. */
function request({ peer, side }: Outcome, change = (bytes: Uint8Array) => bytes): void {
  const step = clientScript(scenario).find(({ name }) => name === REQUEST);
  if (step?.kind !== 'send') throw new Error('no request in the script');
  runStep({ ...step, finish: (message, to) => change(step.finish?.(message, to) ?? message) }, peer);
  for (const bytes of peer.outbox.splice(0)) side.take(side.engine.receive(bytes));
}

describe('a request that crosses close_notify of the server', () => {
  it('is passed over once: a second one is unexpected', () => {
    const outcome = closedServer();
    request(outcome);
    expect(outcome.side.error).to.equal(undefined);
    expect(rekeyEvents(outcome.side)).to.deep.equal([]);
    request(outcome);
    expect(outcome.side.error?.alert).to.equal(Alert.unexpectedMessage);
  });

  it('is not passed over where the server had heard another and was looking for its key', () => {
    const outcome = runAgainst('server', scenario, nothing);
    outcome.side.take(outcome.side.engine.closeWrite());
    request(outcome);
    expect(outcome.side.error?.alert).to.equal(Alert.unexpectedMessage);
  });

  it('has to be a request all the same, which ends with its record', () => {
    const malformed = closedServer();
    request(malformed, (bytes) =>
      Uint8Array.of(...bytes.subarray(0, 3), (bytes[3] as number) - 1, ...bytes.slice(4, -1)),
    );
    expect(malformed.side.error?.alert).to.equal(Alert.decodeError);
    const running = closedServer();
    request(running, (bytes) => Uint8Array.of(...bytes, 0xe0));
    expect(running.side.error?.alert).to.equal(Alert.unexpectedMessage);
  });
});

describe('the owner of a server', () => {
  it('answers for a key once', () => {
    const pair = askedPair();
    pair.server.take(pair.server.engine.provideRekeyKey(rekeyKey(1)));
    const again = rekeyKey(1);
    expect(() => pair.server.engine.provideRekeyKey(again)).to.throw(TlsMisuseError);
    expect(again.secret.wiped).to.equal(true);
    expectConnected(pair.deliver());
    expectEpoch(pair, 1);
  });

  it('may want a rekey again when one was refused, but not in the same epoch', () => {
    const pair = rekeyPair({ serverAnswers: { rekeyKey: () => undefined } }).run();
    pair.server.take(pair.server.engine.wantRekey());
    pair.deliver();
    rekey(pair, rekeyKey(1));
    expect(pair.server.engine.wantRekey()).to.deep.equal([]);
  });
});

describe('rekeys without a QKD key', () => {
  it('count against the data that the connection carries, at both ends', () => {
    const pair = rekeyPair().run();
    for (let i = 0; i < MAX_IDLE_REKEY_REQUESTS; i++) {
      expect([pair.client.engine.rekeyPossible, pair.server.engine.rekeyPossible]).to.deep.equal([true, true]);
      rekey(pair);
    }
    expectEpoch(pair, MAX_IDLE_REKEY_REQUESTS);
    expect([pair.client.engine.rekeyPossible, pair.server.engine.rekeyPossible]).to.deep.equal([false, false]);
    expect(pair.server.engine.wantRekey()).to.deep.equal([]);
  });

  it('leave the count of idle messages as it was, and those with one forget it', () => {
    const ticketRequest = { newSessionCount: 1, resumptionCount: 1 };
    const tickets = (key: ReturnType<typeof rekeyKey> | undefined) => {
      const pair = rekeyPair({ client: { ticketRequest } }).run();
      const issue = (count: number) => {
        for (let i = 0; i < count; i++) {
          const handle = new Uint8Array(16).fill(i);
          pair.server.take(pair.server.engine.issueTicket({ handle, lifetimeSeconds: 60 })?.events ?? []);
        }
        pair.deliver();
      };
      issue(20);
      rekey(pair, key);
      issue(20);
      return pair.client.error?.code;
    };
    expect(tickets(undefined)).to.equal('ERR_TLS_LIMIT');
    expect(tickets(rekeyKey(1))).to.equal(undefined);
  });
});

describe('a rekey that the client began by itself, near the limit of its AEAD', () => {
  const aead = cipherSuiteInfo(CipherSuite.aes128GcmSha256)?.aead as { sealLimitRecords: number };
  const { sealLimitRecords } = aead;
  before(() => {
    aead.sealLimitRecords = 64;
  });
  after(() => {
    aead.sealLimitRecords = sealLimitRecords;
  });

  it('is not begun again in the same epoch, where a server refuses it', () => {
    const kind = 'unavailable';
    const answers = { rekeyWanted: () => 'no' as const };
    const untilRekey = (script: Script) => script.slice(0, -serverRekeySteps(kind).length);
    const { side, peer } = runAgainst('client', { psk: 'beside-certificates', rekey: kind, answers }, untilRekey);
    const send = (records: number) => {
      for (let i = 0; i < records; i++) side.take(side.engine.send(Uint8Array.of(i)));
      for (const bytes of side.outbox.splice(0)) peer.deliver(bytes);
    };
    send(64 * OWN_REKEY_SHARE);
    const [, request, refusal] = serverRekeySteps(kind) as [Step, Step, Step];
    expect(runStep(request, peer), 'a request').to.equal(true);
    runStep(refusal, peer);
    for (const bytes of peer.outbox.splice(0)) side.take(side.engine.receive(bytes));
    expect(rekeyEvents(side).map(({ type }) => type)).to.deep.equal(['rekey-wanted', 'rekey-refused']);
    send(2);
    expect(peer.nextMessage(), 'another request').to.equal(undefined);
    expect(side.engine.rekeyPossible).to.equal(true);
  });
});

describe('the last epoch', () => {
  const wire = { closing: false, writeClosed: false, readClosed: false } as RekeyingWire;
  const session = { summary: { rekey: true } } as Session;
  const possibleIn = (number: number) => {
    const directions = { complete: { number } } as Directions;
    return new Rekeying(wire, 'client', session, directions, new MessageAllowance()).possible;
  };

  it('is the one whose number fills its field: no rekey after it', () => {
    expect([possibleIn(0), possibleIn(0xffff_fffe), possibleIn(0xffff_ffff)]).to.deep.equal([true, true, false]);
  });
});
