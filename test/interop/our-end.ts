/** What our engine is told for one choice of values, in each role. */
import {
  type ClientEngineOptions,
  cipherSuites,
  namedGroups,
  type PlainPsk,
  type QkdPsk,
  type ResumptionPsk,
  SecretBytes,
  type ServerEngineOptions,
  SignatureScheme,
  signatureSchemes,
} from '../../tls-ext/index.ts';
import { type Choice, codePointOf, type Feature, NO_SIGNATURE } from './axes.ts';
import type { Credentials } from './credentials.ts';
import { clientOptions, serverOptions } from './engine-options.ts';
import type { SharedPsk } from './peer.ts';

/** The one that certificates are signed with. */
const CA_SCHEME = SignatureScheme.ecdsaSecp256r1Sha256;
const COOKIE_KEY = new Uint8Array(32).fill(9);

/** Features whose PSK is a QKD key, imported. */
export const isImported = (feature: Feature) => feature === 'imported-psk' || feature === 'imported-psk-certificate';
/** Features in which the PSK alone authenticates. */
const isPskOnly = (feature: Feature) => feature === 'psk' || feature === 'imported-psk';
const hasPsk = (feature: Feature) => isImported(feature) || feature === 'psk' || feature === 'psk-certificate';

/** A key of its own for each use: engines wipe what they get. */
export function pskFor(feature: Feature, shared: SharedPsk): PlainPsk | QkdPsk {
  const secret = new SecretBytes(shared.secret.slice());
  if (!isImported(feature)) return { kind: 'plain', identity: new TextEncoder().encode(shared.identity), secret };
  return { kind: 'qkd', ...importedPsk, secret };
}

/** What the imported PSK is called and bound to, at both ends. */
export const importedPsk = {
  reference: { api: 'etsi014', drawer: 'siteA', keyId: new Uint8Array(16).fill(0x14) },
  context: { purpose: 'handshake', drawer: 'siteA', answerer: 'siteB' },
} as const;

export function ourClient(
  credentials: Credentials,
  { feature, ...choice }: Choice,
  groups: readonly string[],
  psk: SharedPsk,
  ticket?: ResumptionPsk,
): ClientEngineOptions {
  return clientOptions({
    ...common(choice, groups),
    auth: isPskOnly(feature) ? 'psk' : 'certificate',
    ...(hasPsk(feature) ? { psk: pskFor(feature, psk) } : {}),
    ...(feature === 'resumption' ? { ticketRequest: { newSessionCount: 1, resumptionCount: 0 } } : {}),
    ...(ticket === undefined ? {} : { psk: ticket }),
    ...(feature === 'client-certificate' ? { identity: credentials.leaf(choice.signature).identity } : {}),
  });
}

export function ourServer(credentials: Credentials, { feature, ...choice }: Choice): ServerEngineOptions {
  return serverOptions({
    ...common(choice, [choice.group]),
    auth: isPskOnly(feature) ? 'psk' : 'certificate',
    ...(choice.signature === NO_SIGNATURE ? {} : { identity: credentials.leaf(choice.signature).identity }),
    requestClientCertificate: feature === 'client-certificate',
    ...(feature === 'client-certificate' ? { certificateAuthorities: [credentials.caName] } : {}),
    acceptTickets: feature === 'resumption',
    ...(feature === 'hrr-cookie' ? { cookieKey: COOKIE_KEY } : {}),
  });
}

/** One suite and one signature scheme: what is negotiated is the choice, or nothing. */
function common({ suite, signature }: Omit<Choice, 'feature'>, groups: readonly string[]) {
  return {
    groups: groups.map((group) => codePointOf(namedGroups, group)),
    cipherSuites: [codePointOf(cipherSuites, suite)],
    ...(signature === NO_SIGNATURE
      ? {}
      : { signatureSchemes: [codePointOf(signatureSchemes, signature)], signatureSchemesCert: [CA_SCHEME] }),
  };
}
