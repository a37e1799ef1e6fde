import { expect } from 'chai';
import {
  type ChainQuestion,
  type Credential,
  certificatesOfPem,
  createCa,
  issueLeaf,
  loadTrust,
  validateChain,
} from '../../certs/index.ts';
import { isKnownSigner, recallCertificate } from '../../certs/known-certificates.ts';

const NOW_MS = Date.UTC(2026, 5, 1);
const DAY_MS = 86_400_000;

describe('certs: known certificates', () => {
  let root: Credential;
  let chainDer: readonly Uint8Array[];

  before(async () => {
    root = await createCa({ commonName: 'Known Root', nowMs: NOW_MS, pathLength: 1 });
    const middle = await createCa({ commonName: 'Known Middle', nowMs: NOW_MS, issuer: root });
    const leaf = await issueLeaf(middle, 'sae', { commonName: 'site A', saeIds: ['siteA'], nowMs: NOW_MS });
    chainDer = certificatesOfPem(leaf.certPem);
  });

  const judge = (more: Partial<ChainQuestion> = {}) => {
    const verdict = validateChain({
      chainDer,
      trust: loadTrust(root.certPem),
      nowMs: NOW_MS,
      purpose: 'client',
      ...more,
    });
    return verdict.ok ? 'accepted' : verdict.reason;
  };

  it('remembers a path once it was accepted, in bytes of its own', () => {
    const borrowed = chainDer.map((der) => der.slice());
    const [leaf] = borrowed as [Uint8Array, Uint8Array];
    const fresh = recallCertificate(leaf);
    expect(recallCertificate(leaf), 'not before it was believed').not.to.equal(fresh);
    expect(judge({ chainDer: borrowed })).to.equal('accepted');
    for (const der of borrowed) der.fill(0);
    const kept = recallCertificate(chainDer[0] as Uint8Array);
    expect(recallCertificate(chainDer[0] as Uint8Array)).to.equal(kept);
    expect(kept.der).to.deep.equal(chainDer[0]);
    expect(isKnownSigner(kept, recallCertificate(chainDer[1] as Uint8Array))).to.equal(true);
  });

  it('judges time, purpose, names and trust anew', async () => {
    expect(judge()).to.equal('accepted');
    expect(judge({ nowMs: NOW_MS + 400 * DAY_MS })).to.equal('expired');
    expect(judge({ nowMs: NOW_MS - 2 * DAY_MS })).to.equal('not-yet-valid');
    expect(judge({ purpose: 'server' })).to.equal('wrong-purpose');
    expect(judge({ expectedSaeIds: ['siteB'] })).to.equal('wrong-sae');
    expect(judge({ trust: loadTrust(root.certPem) }), 'the same anchor, loaded again').to.equal('accepted');
    const namesake = await createCa({ commonName: 'Known Root', nowMs: NOW_MS, pathLength: 1 });
    expect(judge({ trust: loadTrust(namesake.certPem) })).to.equal('unknown-ca');
    expect(judge()).to.equal('accepted');
  });

  it('does not take a changed certificate for the known one', () => {
    expect(judge()).to.equal('accepted');
    const [leaf, middle] = chainDer as [Uint8Array, Uint8Array];
    const forged = leaf.slice();
    forged[forged.length - 1] = (forged[forged.length - 1] as number) ^ 1;
    expect(judge({ chainDer: [forged, middle] })).to.equal('bad-signature');
    expect(judge()).to.equal('accepted');
  });

  it('keeps nothing of a chain that was refused', () => {
    const [leaf, middle] = chainDer as [Uint8Array, Uint8Array];
    const forged = leaf.slice();
    forged[forged.length - 2] = (forged[forged.length - 2] as number) ^ 1;
    judge({ chainDer: [forged, middle] });
    expect(recallCertificate(forged)).not.to.equal(recallCertificate(forged));
  });
});
