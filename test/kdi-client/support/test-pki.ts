import { createCa, issueLeaf } from '../../../certs/index.ts';

/** PEM of a certificate and its key. */
export interface TestIdentity {
  readonly cert: string;
  readonly key: string;
}

export interface TestPki {
  readonly ca: string;
  readonly kme: TestIdentity;
  readonly sae: TestIdentity;
  /** Of a CA that nobody trusts. */
  readonly stranger: TestIdentity & { readonly ca: string };
}

let made: Promise<TestPki> | undefined;

/** A CA, a KME at 127.0.0.1 named `kme-a`, a SAE named `siteA`; made once per process. */
export function testPki(): Promise<TestPki> {
  made ??= makePki();
  return made;
}

async function makePki(): Promise<TestPki> {
  const nowMs = Date.now();
  const [ca, other] = await Promise.all([
    createCa({ commonName: 'Test CA', nowMs }),
    createCa({ commonName: 'Other CA', nowMs }),
  ]);
  const kmeNames = { commonName: 'kme-a', dnsNames: ['kme-a.test'], ipAddresses: ['127.0.0.1'], nowMs };
  const [kme, sae, stranger] = await Promise.all([
    issueLeaf(ca, 'kme', kmeNames),
    issueLeaf(ca, 'sae', { commonName: 'siteA', saeIds: ['siteA'], nowMs }),
    issueLeaf(other, 'sae', { commonName: 'siteA', saeIds: ['siteA'], nowMs }),
  ]);
  const identity = (credential: { certPem: string; keyPem: string }): TestIdentity => ({
    cert: credential.certPem,
    key: credential.keyPem,
  });
  return {
    ca: ca.certPem,
    kme: identity(kme),
    sae: identity(sae),
    stranger: { ...identity(stranger), ca: other.certPem },
  };
}
