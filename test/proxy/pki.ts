/** Certificates for tests: made once per process, since making them costs more than most tests. */
import {
  type Credential,
  createCa,
  type Identity,
  issueLeaf,
  type LeafOptions,
  loadIdentity,
  loadTrust,
  type TrustAnchors,
} from '../../certs/index.ts';

export interface TestPki {
  readonly ca: Credential;
  readonly trust: TrustAnchors;
}

let shared: Promise<TestPki> | undefined;

/** The CA of all sites. */
export function testPki(): Promise<TestPki> {
  shared ??= makePki('test CA');
  return shared;
}

export async function makePki(commonName: string): Promise<TestPki> {
  const ca = await createCa({ commonName, nowMs: Date.now() });
  return { ca, trust: loadTrust(ca.certPem) };
}

const siteCredentials = new Map<string, Promise<Credential>>();

/** A proxy's certificate that names one SAE. */
export function siteCredential(sae: string): Promise<Credential> {
  let credential = siteCredentials.get(sae);
  if (credential === undefined) {
    credential = testPki().then(({ ca }) => proxyCredential(ca, { saeIds: [sae] }));
    siteCredentials.set(sae, credential);
  }
  return credential;
}

export function proxyCredential(ca: Credential, leaf: Partial<LeafOptions>): Promise<Credential> {
  return issueLeaf(ca, 'proxy', {
    commonName: 'proxy',
    nowMs: Date.now(),
    ipAddresses: ['127.0.0.1'],
    ...leaf,
  });
}

export function identityOf({ certPem, keyPem }: Credential): Identity {
  return loadIdentity(certPem, keyPem);
}
