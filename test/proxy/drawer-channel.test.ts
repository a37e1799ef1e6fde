import { mock } from 'node:test';
import { expect } from 'chai';
import { DrawerChannel } from '../../proxy/key-service/drawer-channel.ts';
import { createLineLog } from '../../proxy/log.ts';
import { DrawerGreeting, encodeMessage, HELLO_TIMEOUT_MS } from '../../tls-ext/index.ts';

const instance = (fill: number) => new Uint8Array(16).fill(fill);

describe("the client's end of a key channel", () => {
  let hungUp: string[];
  let channel: DrawerChannel;

  beforeEach(() => {
    mock.timers.enable({ apis: ['setTimeout'] });
    hungUp = [];
    channel = new DrawerChannel({
      ownSae: 'siteA',
      address: '127.0.0.1:1',
      services: [],
      log: createLineLog(() => {}),
      createGreeting: () => new DrawerGreeting({ instance: instance(1), quota: 10, services: [] }),
      keysOf: () => ({ connected: () => {}, disconnected: () => {} }) as never,
    });
    channel.connected({
      peerSae: 'siteB',
      send: () => {},
      hangUp: (failure) => hungUp.push((failure as { code?: string }).code ?? ''),
      greeted: () => {},
    });
  });
  afterEach(() => mock.timers.reset());

  it('is hung up if the peer does not say hello in time', () => {
    mock.timers.tick(HELLO_TIMEOUT_MS - 1);
    expect(hungUp).to.deep.equal([]);
    mock.timers.tick(1);
    expect(hungUp).to.deep.equal(['ERR_KEYCHANNEL_TIMEOUT']);
  });

  it('is not, once it has, or when it is gone', () => {
    channel.receive(encodeMessage({ type: 'hello', instance: instance(2), quota: 10, services: [] }));
    mock.timers.tick(HELLO_TIMEOUT_MS);
    channel.disconnected();
    channel.connected({ peerSae: 'siteB', send: () => {}, hangUp: () => hungUp.push('again'), greeted: () => {} });
    channel.disconnected();
    mock.timers.tick(HELLO_TIMEOUT_MS);
    expect(hungUp).to.deep.equal([]);
  });
});
