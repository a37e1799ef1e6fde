import { X509Certificate } from 'node:crypto';
import { expect } from 'chai';
import { issueLeaf, saeIdToUri } from '../../../certs/index.ts';
import { hasSchemeAndHost, saeIdOfCertificate, saeIdOfUri } from '../../../qkd-sim/kme/sae-identity.ts';
import { testPki } from './kme-fixture.ts';

async function certificateOf(saeIds: readonly string[], commonName = 'someone', dnsNames: readonly string[] = []) {
  const { ca } = await testPki();
  const leaf = await issueLeaf(ca, 'kme', { commonName, nowMs: Date.now(), saeIds, dnsNames });
  return new X509Certificate(leaf.certPem);
}

describe('qkd-sim: SAE identity', () => {
  describe('in certificates', () => {
    it('is the one SAE URI among the names, percent-decoded', async () => {
      for (const saeId of ['siteA', 'a/b, c"d'.replaceAll(' ', '_'), 'x'.repeat(128)]) {
        expect(saeIdOfCertificate(await certificateOf([saeId], 'cn', ['example.org']), 'san-uri')).to.equal(saeId);
      }
    });

    it('is none where there is no such name, or more than one', async () => {
      expect(saeIdOfCertificate(await certificateOf([], 'siteA'), 'san-uri')).to.equal(undefined);
      expect(saeIdOfCertificate(await certificateOf(['siteA', 'siteB']), 'san-uri')).to.equal(undefined);
    });

    it('is the common name where it is set to', async () => {
      expect(saeIdOfCertificate(await certificateOf(['siteA'], 'siteC'), 'cn')).to.equal('siteC');
      expect(saeIdOfCertificate(await certificateOf(['siteA'], 'x\u2028CN=siteA'), 'cn')).to.not.equal('siteA');
    });

    it('can not be smuggled in by another name', () => {
      const named = (subjectAltName: string) => saeIdOfCertificate({ subject: '', subjectAltName }, 'san-uri');
      const uri = saeIdToUri('siteA');
      expect(named(`URI:${uri}`)).to.equal('siteA');
      expect(named(`DNS:"a, URI:${uri}"`)).to.equal(undefined);
      expect(named(`DNS:"a\\", URI:${uri}"`)).to.equal(undefined);
      expect(named(`URI:"${uri}"`)).to.equal(undefined);
      expect(named(`DNS:URI:${uri}`)).to.equal(undefined);
      expect(named('URI:urn:qstunnel:sae:%zz')).to.equal(undefined);
      expect(named('URI:urn:qstunnel:sae:')).to.equal(undefined);
    });

    it('is the one serial number where it is set to', () => {
      const named = (subject: string) => saeIdOfCertificate({ subject, subjectAltName: undefined }, 'serial-number');
      expect(named('CN=x\nserialNumber=siteA')).to.equal('siteA');
      expect(named('CN=serialNumber=siteA')).to.equal(undefined);
      expect(named('serialNumber=a\nserialNumber=b')).to.equal(undefined);
    });
  });

  it('is found in the forms that a Source or Destination takes', () => {
    const isKnown = (saeId: string) => saeId === 'siteB' || saeId === 'a/b';
    for (const uri of [
      'siteB',
      'qkd://siteB',
      'qkd://siteB:25575',
      'qkd://siteB@host:1/x',
      'qkd://token:secret@siteB/app',
      'https://host/apps/siteB?x=1',
      'urn:qstunnel:sae:siteB',
    ]) {
      expect(saeIdOfUri(uri, isKnown), uri).to.equal('siteB');
    }
    expect(saeIdOfUri('urn:qstunnel:sae:a%2Fb', isKnown)).to.equal('a/b');
    for (const uri of ['', 'siteb', 'qkd://', 'qkd://other', 'qkd://%zz', 'siteB2']) {
      expect(saeIdOfUri(uri, isKnown), uri).to.equal(undefined);
    }
  });

  it('needs a scheme and a host in dialect qubip', () => {
    for (const uri of ['qkd://host', 'a+b://u@h:1/x']) expect(hasSchemeAndHost(uri), uri).to.equal(true);
    for (const uri of ['host', 'qkd:host', 'qkd://', 'qkd:///path', '://host']) {
      expect(hasSchemeAndHost(uri), uri).to.equal(false);
    }
  });
});
