import { expect } from 'chai';
import { errorText } from '../../proxy/errors.ts';
import { Alert, TlsError, TlsErrorCode } from '../../tls-ext/index.ts';

describe('proxy errors in words', () => {
  const told = (alert: Alert, code: TlsErrorCode = TlsErrorCode.peerAlert) =>
    errorText(new TlsError(code, alert, 'the peer sent an alert'));

  it('an alert about our certificate is told with what to change', () => {
    expect(told(Alert.certificateExpired)).to.match(/^the peer sent an alert \(certificate_expired\): .* renew it/);
    expect(told(Alert.unknownCa)).to.match(/\(unknown_ca\): its ca file does not hold the CA/);
    expect(told(Alert.badCertificate)).to.match(/\(bad_certificate\): it does not admit our certificate/);
  });

  it('other alerts, and our own, are told by their names', () => {
    expect(told(Alert.internalError)).to.equal('the peer sent an alert (internal_error)');
    expect(told(Alert.unknownCa, TlsErrorCode.certificateRequired)).to.equal('the peer sent an alert (unknown_ca)');
    expect(errorText(new Error('two\n  lines'))).to.equal('two lines');
  });
});
