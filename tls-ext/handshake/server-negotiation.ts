/** What a server reads out of a ClientHello and decides by itself: suite, group, protocol (RFC 8446, 4.1.1 and 9.2). */
import { Alert } from '../alert.ts';
import { type CipherSuiteInfo, namedGroupInfo } from '../crypto/index.ts';
import type { ServerEngineOptions } from '../engine-types.ts';
import { type KeyShareEntry, PskKeyExchangeMode, type ReceivedClientHello } from '../messages/index.ts';
import { TlsError, TlsErrorCode } from '../tls-error.ts';
import { handshakeFailure, illegalParameter, missingExtension } from './faults.ts';
import { supportedCipherSuites, supportedGroups } from './parameters.ts';
import { referenceOf } from './qkd-import.ts';

/** The outcome of negotiation. `clientShare` is absent where the client has to be asked for it. */
export interface ServerParameters {
  readonly suite: CipherSuiteInfo;
  readonly group: number;
  readonly clientShare: KeyShareEntry | undefined;
}

/** Checks the rules that bind every ClientHello, the second (`retried`) as well, then chooses suite and group. */
export function negotiate(
  hello: ReceivedClientHello,
  options: ServerEngineOptions,
  retried: boolean,
): ServerParameters {
  const { supportedGroups: clientGroups, keyShare: shares } = hello.extensions;
  if (clientGroups === undefined || shares === undefined) {
    throw missingExtension('ClientHello without supported_groups and key_share');
  }
  if (shares.some(({ group }) => !clientGroups.includes(group))) {
    throw illegalParameter('a key share for a group outside of supported_groups');
  }
  expectPskRules(hello);
  if (options.qkd) expectConsistentOffer(hello, retried);
  const suite = supportedCipherSuites(options).find(({ codePoint }) => hello.cipherSuites.includes(codePoint));
  if (suite === undefined) throw handshakeFailure('no cipher suite in common');
  const group = chooseGroup(supportedGroups(options), clientGroups, shares);
  return { suite, group, clientShare: shares.find((share) => share.group === group) };
}

/**
 * Our first group that the client has. Where it sent no share for that, another
 * of the same strength will do: a round trip is worth paying for post-quantum
 * security, not for taste.
 */
function chooseGroup(ours: readonly number[], theirs: readonly number[], shares: readonly KeyShareEntry[]): number {
  const common = ours.filter((group) => theirs.includes(group));
  const [best] = common;
  if (best === undefined) throw handshakeFailure('no group in common');
  const postQuantum = (group: number) => namedGroupInfo(group)?.postQuantum ?? false;
  const sameStrength = common.filter((group) => postQuantum(group) === postQuantum(best));
  return sameStrength.find((group) => shares.some((share) => share.group === group)) ?? best;
}

/** RFC 8446, 4.2.9 and 9.2; RFC 9973, "Extension Overview". */
function expectPskRules({ extensions }: ReceivedClientHello): void {
  const { preSharedKey, pskKeyExchangeModes, certWithExternPsk, earlyData } = extensions;
  if (preSharedKey !== undefined && pskKeyExchangeModes === undefined) {
    throw missingExtension('pre_shared_key without psk_key_exchange_modes');
  }
  if (certWithExternPsk) {
    if (earlyData) throw illegalParameter('tls_cert_with_extern_psk beside early_data');
    if (preSharedKey === undefined) throw missingExtension('tls_cert_with_extern_psk without pre_shared_key');
    if (!pskKeyExchangeModes?.includes(PskKeyExchangeMode.pskDheKe)) {
      throw missingExtension('tls_cert_with_extern_psk without psk_dhe_ke');
    }
  }
  if (earlyData && preSharedKey === undefined) throw illegalParameter('early_data without a PSK');
}

/**
 * `qkd_psk` says `key` exactly where an identity names one, and `ticket` only of a single identity, which may be one;
 * all identities count, usable or not. A second ClientHello may have lost its ticket, because HelloRetryRequest
 * selected a suite of another hash, and says `ticket` again.
 */
function expectConsistentOffer({ extensions }: ReceivedClientHello, retried: boolean): void {
  const offer = extensions.qkdPsk?.offer.offer;
  if (offer === undefined) return;
  const identities = extensions.preSharedKey?.identities ?? [];
  const namesKey = identities.some(({ identity }) => referenceOf(identity) !== undefined);
  if ((offer === 'key') !== namesKey) throw illegalParameter('qkd_psk disagrees with pre_shared_key');
  if (offer !== 'ticket') return;
  if (identities.length > 1 || (identities.length === 0 && !retried)) {
    throw illegalParameter('qkd_psk says ticket, which pre_shared_key does not hold alone');
  }
  if (extensions.certWithExternPsk) throw illegalParameter('a ticket beside tls_cert_with_extern_psk');
}

/** RFC 7301, 3.2: ours in our order; `undefined` if either side has no opinion. */
export function chooseProtocol(
  { extensions: { alpn } }: ReceivedClientHello,
  { alpnProtocols }: ServerEngineOptions,
): string | undefined {
  if (alpn === undefined || !alpnProtocols?.length) return undefined;
  const protocol = alpnProtocols.find((name) => alpn.includes(name));
  if (protocol === undefined) {
    throw new TlsError(
      TlsErrorCode.noApplicationProtocol,
      Alert.noApplicationProtocol,
      'no application protocol in common',
    );
  }
  return protocol;
}
