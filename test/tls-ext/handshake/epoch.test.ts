/** Secrets of an epoch live exactly as long as one of the directions is under it. */
import { expect } from 'chai';
import { SecretBytes } from '../../../tls-ext/bytes/index.ts';
import { defaultKeyAgreements } from '../../../tls-ext/crypto/index.ts';
import { Directions, type Epoch, nextEpoch } from '../../../tls-ext/handshake/epoch.ts';
import type { Session } from '../../../tls-ext/handshake/session.ts';
import { cipherSuiteInfo, type HandshakeSummary } from '../../../tls-ext/index.ts';
import { MainSecret, type TrafficKeys } from '../../../tls-ext/key-schedule/index.ts';

const transcriptHash = new Uint8Array(48).fill(2);
const mainSecret = (fill: number) => new MainSecret('sha384', new SecretBytes(new Uint8Array(48).fill(fill)));

function firstEpoch(): Epoch {
  const main = mainSecret(1);
  return {
    number: 0,
    mainSecret: main,
    exporterSecret: main.exporterSecret(transcriptHash),
    resumptionSecret: main.resumptionSecret(transcriptHash),
    transcriptHash,
  };
}

function directionsOf(role: 'client' | 'server') {
  const suite = cipherSuiteInfo(0x1302);
  if (suite === undefined) throw new Error('no suite');
  const epoch = firstEpoch();
  const session: Session = {
    summary: {} as HandshakeSummary,
    suite,
    clientApplicationTrafficSecret: epoch.mainSecret.clientApplicationTrafficSecret(transcriptHash),
    serverApplicationTrafficSecret: epoch.mainSecret.serverApplicationTrafficSecret(transcriptHash),
    exporterSecret: epoch.mainSecret.exporterSecret(transcriptHash),
    epoch,
    settings: {
      random: (lengthBytes) => new Uint8Array(lengthBytes),
      keyAgreements: defaultKeyAgreements,
      wantsTickets: false,
      rekeyWithoutKey: 'accept',
    },
    logSecret: () => {},
  };
  const keys: TrafficKeys[] = [];
  const take = (taken: TrafficKeys) => void keys.push(taken);
  return { directions: new Directions({ protectSending: take, protectReceiving: take }, role, session), session, keys };
}

/** Whether each secret of an epoch is gone. */
function wiped({ mainSecret: main, exporterSecret, resumptionSecret }: Epoch): readonly boolean[] {
  let gone = false;
  try {
    main.deriveNamed('x', transcriptHash);
  } catch {
    gone = true;
  }
  return [gone, exporterSecret.wiped, resumptionSecret.wiped];
}

const all = [true, true, true];
const none = [false, false, false];

describe('the epochs of two directions', () => {
  it('a client leaves the old one in its receiving direction first, then in both: then it is wiped', () => {
    const { directions, session } = directionsOf('client');
    const next = nextEpoch(session.epoch, mainSecret(3), transcriptHash);
    directions.receiveUnder(next);
    expect(directions.complete.number).to.equal(0);
    expect(session.serverApplicationTrafficSecret.wiped).to.equal(true);
    expect(session.clientApplicationTrafficSecret.wiped).to.equal(false);
    expect(wiped(session.epoch)).to.deep.equal(none);
    directions.sendUnder(next);
    expect(directions.complete).to.equal(next);
    expect(session.clientApplicationTrafficSecret.wiped).to.equal(true);
    expect(wiped(session.epoch)).to.deep.equal(all);
    expect(wiped(next)).to.deep.equal(none);
  });

  it('a server the other way round', () => {
    const { directions, session } = directionsOf('server');
    const next = nextEpoch(session.epoch, mainSecret(3), transcriptHash);
    directions.sendUnder(next);
    expect(directions.complete.number).to.equal(0);
    expect(session.serverApplicationTrafficSecret.wiped).to.equal(true);
    expect(wiped(session.epoch)).to.deep.equal(none);
    directions.receiveUnder(next);
    expect(directions.complete).to.equal(next);
    expect(wiped(session.epoch)).to.deep.equal(all);
  });

  it('the exporter of the handshake outlives its epoch', () => {
    const { directions, session } = directionsOf('client');
    const next = nextEpoch(session.epoch, mainSecret(3), transcriptHash);
    directions.receiveUnder(next);
    directions.sendUnder(next);
    expect(session.exporterSecret.wiped).to.equal(false);
  });

  it('an end in the middle wipes both', () => {
    const { directions, session } = directionsOf('server');
    const next = nextEpoch(session.epoch, mainSecret(3), transcriptHash);
    directions.sendUnder(next);
    directions.wipe();
    expect([wiped(session.epoch), wiped(next)]).to.deep.equal([all, all]);
    expect(session.clientApplicationTrafficSecret.wiped).to.equal(true);
  });

  it('a KeyUpdate changes one direction within its epoch', () => {
    const { directions, session, keys } = directionsOf('client');
    directions.updateReceivingKeys();
    directions.updateSendingKeys();
    expect(keys).to.have.length(2);
    expect(session.clientApplicationTrafficSecret.wiped).to.equal(true);
    expect(directions.complete).to.equal(session.epoch);
    expect(wiped(session.epoch)).to.deep.equal(none);
  });
});
