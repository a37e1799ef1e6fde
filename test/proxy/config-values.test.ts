import { expect } from 'chai';
import { isLocalAddress, parseAddress, parseDuration } from '../../proxy/config/index.ts';

describe('proxy config: addresses', () => {
  const good: readonly (readonly [string, object])[] = [
    ['8443', { host: '127.0.0.1', port: 8443 }],
    ['localhost:1', { host: 'localhost', port: 1 }],
    ['0.0.0.0:0', { host: '0.0.0.0', port: 0 }],
    ['kme-a.example.:65535', { host: 'kme-a.example.', port: 65535 }],
    ['[::1]:8443', { host: '::1', port: 8443 }],
    ['[0:0:0:0:0:0:0:1]:8443', { host: '::1', port: 8443 }],
    ['[2001:DB8:0:0:1:0:0:1]:1', { host: '2001:db8::1:0:0:1', port: 1 }],
    ['[fe80::1%eth0]:1', { host: 'fe80::1%eth0', port: 1 }],
    ['unix:/run/q.sock', { path: '/run/q.sock' }],
    ['unix:q:1', { path: 'q:1' }],
  ];
  for (const [text, address] of good) {
    it(`reads ${text}`, () => expect(parseAddress(text)).to.deep.equal(address));
  }

  const bad: readonly (readonly [string, RegExp])[] = [
    ['::1', /brackets/],
    ['::1:8443', /brackets/],
    ['[::1]', /HOST:PORT/],
    ['[1.2.3.4]:1', /not an IPv6/],
    [':8443', /host is missing/],
    ['host', /HOST:PORT/],
    ['host:', /HOST:PORT/],
    ['host:65536', /0 to 65535/],
    ['65536', /0 to 65535/],
    ['host:-1', /HOST:PORT/],
    ['host:1e3', /HOST:PORT/],
    ['a b:1', /not a host/],
    ['http://x:1', /HOST:PORT/],
    ['1.2.3:1', /not a host/],
    ['/run/x', /unix:\/run\/x/],
    ['unix:', /path is missing/],
    [`unix:/${'x'.repeat(107)}`, /107 bytes/],
    ['', /HOST:PORT/],
  ];
  for (const [text, message] of bad) {
    it(`refuses "${text.slice(0, 20)}"`, () => expect(() => parseAddress(text)).to.throw(RangeError, message));
  }

  it('knows what only this machine reaches', () => {
    for (const text of ['1', '127.9.9.9:1', 'LocalHost:1', '[::1]:1', 'unix:/x']) {
      expect(isLocalAddress(parseAddress(text)), text).to.equal(true);
    }
    for (const text of [
      '0.0.0.0:1',
      '[::]:1',
      'localhost.example:1',
      '127.example:1',
      '10.0.0.1:1',
      '[::ffff:7f00:1]:1',
    ]) {
      expect(isLocalAddress(parseAddress(text)), text).to.equal(false);
    }
  });
});

describe('proxy config: durations', () => {
  it('have a unit', () => {
    const read = ['0s', '1ms', '90s', '10m', '12h', '24d'].map(parseDuration);
    expect(read).to.deep.equal([0, 1, 90_000, 600_000, 43_200_000, 2_073_600_000]);
    for (const bad of ['5', 's', '-1s', '1.5s', '1 s', '1S', '1s ', '25d', '9999999999ms']) {
      expect(() => parseDuration(bad), bad).to.throw(RangeError);
    }
  });
});
