/** From a KME's URL to its client. A fourth API is one more case here, and one more folder. */
import type { Clock } from './clock.ts';
import { KdiError, KdiErrorCode } from './errors.ts';
import { Etsi004Source, type Etsi004SourceOptions } from './etsi004/source.ts';
import { Etsi014Source, type Etsi014SourceOptions } from './etsi014/source.ts';
import type { KeySource } from './key-source.ts';
import type { KmeTls, PskTls } from './kme-tls.ts';
import { parseKmeUrl } from './kme-url.ts';
import { SkipSource, type SkipSourceOptions } from './skip/source.ts';

type Shared = 'address' | 'saeId' | 'tls' | 'clock' | 'connectTimeoutMs' | 'unsafePlainTcp';

export interface KeySourceSettings {
  /** `etsi004://…`, `etsi014://…` or `skip://…`. */
  readonly url: string;
  /** Our own SAE ID. */
  readonly saeId: string;
  /** A pre-shared key is for SKIP only. */
  readonly tls?: KmeTls | PskTls;
  /** 004 only: do without `tls`; every key is then readable on the wire. */
  readonly unsafePlainTcp?: boolean;
  readonly connectTimeoutMs?: number;
  readonly clock?: Clock;
  /** Settings of the one API that the URL names; the others are ignored. */
  readonly etsi004?: Omit<Etsi004SourceOptions, Shared>;
  readonly etsi014?: Omit<Etsi014SourceOptions, Shared>;
  readonly skip?: Omit<SkipSourceOptions, Shared>;
}

/** The client of a key manager. Nothing is sent before its first call. Throws `ERR_KDI_URL` or `ERR_KDI_CONFIG`. */
export function createKeySource(settings: KeySourceSettings): KeySource {
  const address = parseKmeUrl(settings.url);
  const { saeId, tls, connectTimeoutMs, clock } = settings;
  const shared = {
    address,
    saeId,
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    ...(clock === undefined ? {} : { clock }),
  };
  switch (address.api) {
    case 'etsi004':
      return new Etsi004Source({
        ...settings.etsi004,
        ...shared,
        ...(tls === undefined ? {} : { tls: expectCertificates(tls, address.name) }),
        unsafePlainTcp: settings.unsafePlainTcp ?? false,
      });
    case 'etsi014':
      return new Etsi014Source({
        ...settings.etsi014,
        ...shared,
        tls: expectCertificates(expectTls(tls, address.name), address.name),
      });
    case 'skip':
      return new SkipSource({ ...settings.skip, ...shared, tls: expectTls(tls, address.name) });
  }
}

function expectTls(tls: KmeTls | PskTls | undefined, kme: string): KmeTls | PskTls {
  if (tls === undefined) throw new KdiError(KdiErrorCode.config, `KME ${kme} needs a certificate, a key and a CA`);
  return tls;
}

function expectCertificates(tls: KmeTls | PskTls, kme: string): KmeTls {
  if ('psk' in tls)
    throw new KdiError(KdiErrorCode.config, `KME ${kme} needs certificates; a pre-shared key is for skip:// only`);
  return tls;
}
