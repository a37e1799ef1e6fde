/** What both roles take from their options. */
import { type CipherSuiteInfo, cipherSuiteInfo, defaultKeyAgreements } from '../crypto/index.ts';
import type { EngineOptions } from '../engine-types.ts';
import { type ExtensionCodePoints, ExtensionType } from '../messages/index.ts';
import { TlsMisuseError } from '../tls-error.ts';

/** The suites of the options that we speak, in their order. */
export function supportedCipherSuites(options: EngineOptions): CipherSuiteInfo[] {
  const suites = options.cipherSuites.flatMap((codePoint) => cipherSuiteInfo(codePoint) ?? []);
  if (suites.length === 0) throw new TlsMisuseError('no cipher suite that we speak');
  return suites;
}

/** The groups of the options that we speak, in their order. */
export function supportedGroups(options: EngineOptions): number[] {
  const provider = options.keyAgreements ?? defaultKeyAgreements;
  const groups = options.groups.filter((group) => provider(group) !== undefined);
  if (groups.length === 0) throw new TlsMisuseError('no group that we speak');
  return groups;
}

export function codePointsOf(options: EngineOptions): ExtensionCodePoints {
  return { qkdPsk: options.qkdPskExtension ?? ExtensionType.qkdPsk };
}
