/** How much a peer may ask for by the application data that the connection carries, to the byte. */
import { expect } from 'chai';
import {
  DATA_BYTES_PER_MESSAGE,
  DATA_BYTES_PER_REKEY_REQUEST,
  MAX_IDLE_MESSAGES,
  MAX_IDLE_REKEY_REQUESTS,
  MessageAllowance,
  RekeyAllowance,
} from '../../../tls-ext/handshake/message-allowance.ts';
import { TlsError } from '../../../tls-ext/index.ts';

/** One whose idle messages have all been sent. */
function spent(): MessageAllowance {
  const allowance = new MessageAllowance();
  for (let i = 0; i < MAX_IDLE_MESSAGES; i++) allowance.spend();
  return allowance;
}

const refused = (allowance: MessageAllowance) =>
  expect(() => allowance.spend())
    .to.throw(TlsError)
    .with.property('code', 'ERR_TLS_LIMIT');

describe('messages without application data', () => {
  it('are allowed up to their bound', () => {
    refused(spent());
  });

  it('are allowed one more for each 1,024 bytes, however small the records', () => {
    const allowance = spent();
    allowance.applicationData(DATA_BYTES_PER_MESSAGE - 1);
    allowance.applicationData(1);
    allowance.spend();
    refused(allowance);
    const short = spent();
    short.applicationData(DATA_BYTES_PER_MESSAGE - 1);
    refused(short);
  });

  it('earn no credit by data that came before them', () => {
    const allowance = new MessageAllowance();
    allowance.applicationData(1_000_000);
    for (let i = 0; i < MAX_IDLE_MESSAGES; i++) allowance.spend();
    allowance.applicationData(1_000_000_000);
    for (let i = 0; i < MAX_IDLE_MESSAGES; i++) allowance.spend();
    refused(allowance);
  });

  it('are forgotten with a rekey by a QKD key', () => {
    const allowance = spent();
    allowance.restore();
    for (let i = 0; i < MAX_IDLE_MESSAGES; i++) allowance.spend();
    refused(allowance);
  });
});

describe('rekey requests', () => {
  const exhausted = () => {
    const allowance = new RekeyAllowance();
    for (let i = 0; i < MAX_IDLE_REKEY_REQUESTS; i++) {
      expect(allowance.exhausted).to.equal(false);
      allowance.spend();
    }
    expect(allowance.exhausted).to.equal(true);
    return allowance;
  };

  it('are one more for each 16,384 bytes, whenever they were carried', () => {
    const allowance = exhausted();
    allowance.applicationData(DATA_BYTES_PER_REKEY_REQUEST - 1);
    expect(allowance.exhausted).to.equal(true);
    allowance.applicationData(1);
    expect(allowance.exhausted).to.equal(false);
    allowance.spend();
    expect(allowance.exhausted).to.equal(true);
  });

  it('that ended in a rekey with a QKD key do not count', () => {
    const allowance = exhausted();
    allowance.refund();
    expect(allowance.exhausted).to.equal(false);
    allowance.spend();
    expect(allowance.exhausted).to.equal(true);
  });
});
