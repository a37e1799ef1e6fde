/** Which SAE a peer is: by its certificate, and by the key in use if there is one. */
import { expect } from 'chai';
import { judgePeer, type PeerRules } from '../../proxy/verdict.ts';
import { Alert, type QkdPskContext } from '../../tls-ext/index.ts';
import { identityOf, proxyCredential, testPki } from './pki.ts';

const keyOf = (drawer: string, answerer = 'siteB'): QkdPskContext => ({ purpose: 'handshake', drawer, answerer });

describe('the verdict on a peer', () => {
  async function judged(named: readonly string[], admitted: readonly string[], context?: QkdPskContext) {
    const { ca, trust } = await testPki();
    const { chainDer } = identityOf(await proxyCredential(ca, { saeIds: named }));
    const rules: PeerRules = { trust, peerSae: admitted, peerRole: 'client', ownSae: 'siteB' };
    const judgement = judgePeer(rules, chainDer, context, Date.now());
    return 'sae' in judgement ? judgement.sae : judgement.verdict.alert;
  }

  it('names the admitted SAE of its certificate, with a key the drawer of it', async () => {
    expect(await judged(['siteA'], ['siteA', 'siteC'])).to.equal('siteA');
    expect(await judged(['siteA', 'siteX'], ['siteA', 'siteC'])).to.equal('siteA');
    expect(await judged(['siteA', 'siteC'], ['siteA', 'siteC'], keyOf('siteC'))).to.equal('siteC');
  });

  it('is bad_certificate where it names another SAE than the key, or ourselves', async () => {
    expect(await judged(['siteA'], ['siteA', 'siteC'], keyOf('siteC'))).to.equal(Alert.badCertificate);
    expect(await judged(['siteA'], ['siteA'], keyOf('siteA', 'siteX'))).to.equal(Alert.badCertificate);
    expect(await judged(['siteB'], ['siteA', 'siteB'])).to.equal(Alert.badCertificate);
    expect(await judged(['siteX'], ['siteA'])).to.equal(Alert.badCertificate);
  });

  it('is bad_certificate where it names several admitted SAEs, and no key says which', async () => {
    expect(await judged(['siteA', 'siteC'], ['siteA', 'siteC'])).to.equal(Alert.badCertificate);
  });
});
