/** How a KME is written in configuration: `etsi004://HOST:PORT[?dialect=qubip]`, `etsi014://HOST[:PORT][/path]`, `skip://HOST[:PORT][/path]`. */
import { KdiError, KdiErrorCode } from './errors.ts';
import type { KdiApi } from './key-source.ts';
import type { Etsi004Dialect } from './wire/index.ts';

/** A KME's address, taken from its URL. */
export interface KmeAddress {
  readonly api: KdiApi;
  /** Without the brackets of an IPv6 literal. */
  readonly host: string;
  readonly port: number;
  /** 004 only. */
  readonly dialect?: Etsi004Dialect;
  /** 014 and SKIP only: prefix of every path, without a trailing slash; usually empty. */
  readonly basePath: string;
  /** `host:port`, for logs and metadata. */
  readonly name: string;
}

/** Longest KME URL. */
export const MAX_KME_URL_LENGTH = 512;

const DEFAULT_PORTS: Readonly<Record<KdiApi, number>> = { etsi004: 25575, etsi014: 443, skip: 443 };
const FORMS = 'etsi004://HOST:PORT[?dialect=qubip], etsi014://HOST[:PORT] or skip://HOST[:PORT]';

/** Schemes that people write instead, with the ones they mean. */
const MEANT: Readonly<Record<string, string>> = {
  'http:': 'etsi014:// (or skip:// for a SKIP key provider)',
  'https:': 'etsi014:// (or skip:// for a SKIP key provider)',
  'tcp:': 'etsi004://',
  'tls:': 'etsi004://',
  'etsi-004:': 'etsi004://',
  'etsi-014:': 'etsi014://',
  'etsi04:': 'etsi004://',
  'etsi14:': 'etsi014://',
};

/** Throws `KdiError` `ERR_KDI_URL`, whose message says what to write instead. */
export function parseKmeUrl(text: string): KmeAddress {
  if (text.length > MAX_KME_URL_LENGTH) throw urlError(`a KME URL is at most ${MAX_KME_URL_LENGTH} characters long`);
  let url: URL;
  try {
    url = new URL(text);
  } catch (cause) {
    throw urlError(
      hasBadPort(text)
        ? `the port of KME URL '${shown(text)}' is not a number of 1 to 65535`
        : `'${shown(text)}' is not a KME URL; write ${FORMS}`,
      cause,
    );
  }
  const api = apiOf(url, text);
  if (url.hostname === '') throw urlError(`KME URL '${shown(text)}' has no host; write ${api}://HOST:PORT`);
  if (url.username !== '' || url.password !== '') {
    throw urlError('a KME URL holds no user or password; use --kme-cert and --kme-key');
  }
  if (url.hash !== '') throw urlError(`remove '${url.hash}' from the KME URL`);
  const port = url.port === '' ? DEFAULT_PORTS[api] : Number(url.port);
  if (port === 0) throw urlError(`port 0 in KME URL '${shown(text)}' is not a number of 1 to 65535`);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const basePath = url.pathname.replace(/\/+$/, '');
  if (api === 'etsi004' && basePath !== '') {
    throw urlError(`004 is no HTTP API: remove the path '${basePath}' from the KME URL`);
  }
  if (/\/api\/v1(?:\/|$)/.test(basePath)) {
    throw urlError(
      `leave '/api/v1…' out of the KME URL: write ${api}://${url.host}${basePath.replace(/\/api\/v1.*$/, '')}`,
    );
  }
  const dialect = dialectOf(url, api);
  return {
    api,
    host,
    port,
    ...(dialect === undefined ? {} : { dialect }),
    basePath,
    name: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
  };
}

function apiOf(url: URL, text: string): KdiApi {
  switch (url.protocol) {
    case 'etsi004:':
      return 'etsi004';
    case 'etsi014:':
      return 'etsi014';
    case 'skip:':
      return 'skip';
    default: {
      const meant = MEANT[url.protocol];
      throw urlError(
        meant === undefined
          ? `'${shown(text)}' is not a KME URL; write ${FORMS}`
          : `scheme '${url.protocol}//' of the KME URL does not name an API; write ${meant}`,
      );
    }
  }
}

function dialectOf(url: URL, api: KdiApi): Etsi004Dialect | undefined {
  for (const name of url.searchParams.keys()) {
    if (name !== 'dialect' || api !== 'etsi004') {
      throw urlError(
        `unknown parameter '${name}' in the KME URL; ${api === 'etsi004' ? 'only dialect=etsi and dialect=qubip are known' : `${api}:// takes none`}`,
      );
    }
  }
  if (api !== 'etsi004') return undefined;
  const dialects = url.searchParams.getAll('dialect');
  const dialect = dialects[0] ?? 'etsi';
  if (dialects.length > 1 || (dialect !== 'etsi' && dialect !== 'qubip')) {
    throw urlError(`unknown 004 dialect '${dialects.join(',')}'; write ?dialect=etsi or ?dialect=qubip`);
  }
  return dialect;
}

function hasBadPort(text: string): boolean {
  const port = /^[a-z0-9-]+:\/\/(?:\[[^\]]*\]|[^/:?#]*):([^/?#]*)/i.exec(text)?.[1];
  return port !== undefined && !(/^\d*$/.test(port) && Number(port) <= 65_535);
}

/** A URL as it may stand in a message: without what could be a password. */
function shown(text: string): string {
  return text.replace(/\/\/[^/@]*@/, '//…@').slice(0, 100);
}

function urlError(message: string, cause?: unknown): KdiError {
  return new KdiError(KdiErrorCode.url, message, cause === undefined ? {} : { cause });
}
