import { randomBytes } from 'node:crypto';
import {
  type ClientEngineOptions,
  NamedGroup,
  type ServerEngineOptions,
  signatureSchemes,
} from '../../tls-ext/index.ts';

export const engineOptions = {
  random: (lengthBytes: number) => new Uint8Array(randomBytes(lengthBytes)),
  groups: [NamedGroup.x25519MlKem768, NamedGroup.x25519, NamedGroup.secp256r1],
  cipherSuites: [0x1302, 0x1301, 0x1303],
  signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
} as const;

export function clientOptions(overrides: Partial<ClientEngineOptions> = {}): ClientEngineOptions {
  return { ...engineOptions, auth: 'certificate', serverName: 'localhost', ...overrides };
}

export function serverOptions(overrides: Partial<ServerEngineOptions> = {}): ServerEngineOptions {
  return { ...engineOptions, auth: 'certificate', requestClientCertificate: false, qkd: false, ...overrides };
}
