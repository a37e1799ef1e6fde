import { expect } from 'chai';
import { KdiError, KdiErrorCode, parseKmeUrl } from '../../kdi-client/index.ts';

describe('kdi-client/kme-url', () => {
  it('reads each API, with default ports and dialect', () => {
    expect(parseKmeUrl('etsi004://kme-a:25576')).to.deep.equal({
      api: 'etsi004',
      host: 'kme-a',
      port: 25576,
      dialect: 'etsi',
      basePath: '',
      name: 'kme-a:25576',
    });
    expect(parseKmeUrl('etsi004://kme-a')).to.include({ port: 25575 });
    expect(parseKmeUrl('etsi004://[::1]:7?dialect=qubip')).to.include({
      host: '::1',
      dialect: 'qubip',
      name: '[::1]:7',
    });
    expect(parseKmeUrl('etsi014://kme/base/')).to.include({ port: 443, basePath: '/base' });
    expect(parseKmeUrl('skip://10.0.0.1:8443')).to.include({ api: 'skip', port: 8443, basePath: '' });
  });

  const wrong: readonly (readonly [url: string, says: RegExp])[] = [
    ['https://kme/api/v1/keys', /write etsi014:\/\//],
    ['tcp://kme:25575', /write etsi004:\/\//],
    ['kme-a:25575', /etsi004:\/\/HOST:PORT/],
    ['', /etsi004:\/\/HOST:PORT/],
    ['etsi004://', /host|not a KME URL/],
    ['etsi004://kme:99999', /port/],
    ['etsi004://kme:0', /port/],
    ['etsi004://kme/path', /remove the path/],
    ['etsi004://kme?dialect=c', /dialect=etsi or \?dialect=qubip/],
    ['etsi004://kme?dialct=qubip', /unknown parameter 'dialct'/],
    ['etsi014://kme?dialect=etsi', /takes none/],
    ['etsi014://kme/api/v1/keys', /leave '\/api\/v1…' out/],
    ['etsi004://user:secret@kme', /--kme-cert/],
    ['etsi004://kme#x', /remove '#x'/],
    [`etsi004://${'a'.repeat(600)}`, /at most/],
  ];
  for (const [url, says] of wrong) {
    it(`answers '${url.slice(0, 40)}' with what to write instead`, () => {
      expect(() => parseKmeUrl(url))
        .to.throw(KdiError, says)
        .that.includes({ code: KdiErrorCode.url, retryable: false });
    });
  }

  it('never repeats a password', () => {
    expect(() => parseKmeUrl('https://user:secret@kme'))
      .to.throw(KdiError)
      .that.satisfies((error: Error) => !error.message.includes('secret'));
  });
});
