/** Certificate as it goes over the wire (RFC 8446, 4.4.2). */
import { expect } from 'chai';
import { TranscriptHash } from '../../../tls-ext/crypto/index.ts';
import { sendCertificate } from '../../../tls-ext/handshake/authentication.ts';
import { decodeCertificate } from '../../../tls-ext/messages/index.ts';
import { serverIdentity } from '../engine/engine-pair.ts';

const ocspResponse = Uint8Array.of(0x30, 3, 10, 1, 0);

/** Extensions of each entry of the chain. */
function sentExtensions(staple: Uint8Array | undefined) {
  const sent: Uint8Array[] = [];
  sendCertificate(
    { send: (bytes: Uint8Array) => sent.push(bytes) } as never,
    new TranscriptHash('sha256'),
    serverIdentity,
    staple,
  );
  expect(sent).to.have.length(1);
  const { certificateList } = decodeCertificate((sent[0] as Uint8Array).subarray(4));
  return certificateList.map(({ extensions }) => extensions);
}

describe('a certificate chain', () => {
  it('has the OCSP staple at its first certificate and nowhere else', () => {
    expect(serverIdentity.chain).to.have.length(2);
    expect(sentExtensions(ocspResponse)).to.deep.equal([{ statusRequest: ocspResponse }, {}]);
  });

  it('has none where there is none', () => {
    expect(sentExtensions(undefined)).to.deep.equal([{}, {}]);
  });
});
