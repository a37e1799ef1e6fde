/** The key managers of a service: which there are, and the settings of each. */
import {
  type Etsi004QosBounds,
  type Etsi004QosSettings,
  isKdiError,
  type KdiApi,
  KEY_BYTES,
  parseKmeUrl,
} from '../../kdi-client/index.ts';
import { ConfigErrorCode } from './config-error.ts';
import { ETSI004_SETTINGS, ETSI014_SETTINGS, KME_SETTINGS, type KmeElementInput, SKIP_SETTINGS } from './kme-schema.ts';
import type { ServiceInput } from './schema.ts';
import type { CredentialPaths, KmeAccess, KmeApiSettings, KmeConfig } from './service-config.ts';

/** Bytes of a 004 chunk unless told otherwise: 32 keys, which costs the same round trip as one. */
const DEFAULT_KEY_CHUNK_BYTES = 1_024;

/** A key of a service, or a place below it, such as `kme`, 1, `ksid`. */
export type KeyPath = readonly [string, ...(string | number)[]];

/** What reading a service's settings takes; each reports what is wrong by itself. */
export interface KmeResolveContext {
  problem(path: KeyPath, code: ConfigErrorCode, message: string): void;
  /** `peer-sae` in a file, `--peer-sae` on the command line. */
  keyText(key: string): string;
  filePath(path: KeyPath, text: string): string;
  durationMs(path: KeyPath, text: string): number;
  /** Of the tunnel; the key managers' unless told otherwise. */
  readonly ownCredentials: CredentialPaths;
  readonly reportMissingCredentials: boolean;
}

type KmeKey = keyof typeof KME_SETTINGS;

const KEYS_BY_API: Readonly<Record<KdiApi, readonly string[]>> = {
  etsi004: [...Object.keys(ETSI004_SETTINGS), 'unsafe-plaintext-kme'],
  etsi014: Object.keys(ETSI014_SETTINGS),
  skip: [...Object.keys(SKIP_SETTINGS), 'kme-psk'],
};

/** Settings that mean nothing without a key manager. */
const IDLE_WITHOUT_KME = [...Object.keys(KME_SETTINGS), 'kme-choose', 'kme-fail-back'].filter(
  (key) => key !== 'unsafe-plaintext-kme',
) as (keyof ServiceInput)[];

/** The key managers that `input` names, in its order; incomplete where problems were reported. */
export function resolveKmes(input: ServiceInput, context: KmeResolveContext): KmeConfig[] {
  const { kme } = input;
  if (kme === undefined) {
    const idle = IDLE_WITHOUT_KME.find((key) => input[key] !== undefined);
    if (idle !== undefined) conflict(context, [idle], `is of no use without ${context.keyText('kme')}`);
    return [];
  }
  const elements: readonly (readonly [KeyPath, string | KmeElementInput])[] =
    typeof kme === 'string' ? [[['kme'], kme]] : kme.map((element, i) => [['kme', i], element]);
  const kmes: KmeConfig[] = [];
  let first: KdiApi | undefined;
  for (const [path, element] of elements) {
    const { url, ...own } = typeof element === 'string' ? { url: element } : element;
    const urlPath: KeyPath = typeof element === 'string' ? path : [...path, 'url'];
    const api = apiOf(url, urlPath, context);
    if (api === undefined) continue;
    first ??= api;
    if (api !== first) {
      conflict(context, urlPath, `is ${api}://, and key managers that stand in for each other must be of one API`);
    }
    kmes.push(new KmeResolver(input, own, path, api, context).resolve(url));
  }
  return kmes;
}

function apiOf(url: string, path: KeyPath, context: KmeResolveContext): KdiApi | undefined {
  try {
    return parseKmeUrl(url).api;
  } catch (error) {
    if (!isKdiError(error)) throw error;
    context.problem(path, ConfigErrorCode.value, `can't be used: ${error.message}`);
    return undefined;
  }
}

function conflict(context: KmeResolveContext, path: KeyPath, message: string): void {
  context.problem(path, ConfigErrorCode.conflict, message);
}

/** One key manager: its own settings before the service's. */
class KmeResolver {
  readonly #service: Pick<ServiceInput, KmeKey>;
  readonly #own: Omit<KmeElementInput, 'url'>;
  readonly #path: KeyPath;
  readonly #api: KdiApi;
  readonly #context: KmeResolveContext;

  constructor(
    service: Pick<ServiceInput, KmeKey>,
    own: Omit<KmeElementInput, 'url'>,
    path: KeyPath,
    api: KdiApi,
    context: KmeResolveContext,
  ) {
    this.#service = service;
    this.#own = own;
    this.#path = path;
    this.#api = api;
    this.#context = context;
  }

  resolve(url: string): KmeConfig {
    this.#checkApi();
    return { url, access: this.#access(), weight: this.#own.weight ?? 1, settings: this.#settings() };
  }

  #value<K extends KmeKey>(key: K): Pick<ServiceInput, KmeKey>[K] {
    return (this.#own[key] ?? this.#service[key]) as Pick<ServiceInput, KmeKey>[K];
  }

  #pathOf(key: KmeKey): KeyPath {
    return this.#own[key] === undefined ? [key] : [...this.#path, key];
  }

  /** A setting of another API would be ignored in silence. */
  #checkApi(): void {
    for (const [api, keys] of Object.entries(KEYS_BY_API)) {
      if (api === this.#api) continue;
      for (const key of keys as readonly KmeKey[]) {
        if (this.#value(key) === undefined) continue;
        conflict(this.#context, this.#pathOf(key), `is for ${api}:// key managers, and this one is ${this.#api}://`);
      }
    }
  }

  #access(): KmeAccess {
    const { ownCredentials: own } = this.#context;
    const [cert, key] = [this.#file('kme-cert'), this.#file('kme-key')];
    if ((cert === undefined) !== (key === undefined)) {
      const [given, missing] =
        cert === undefined ? (['kme-key', 'kme-cert'] as const) : (['kme-cert', 'kme-key'] as const);
      conflict(this.#context, this.#pathOf(given), `needs ${this.#context.keyText(missing)} as well`);
    }
    const pskFile = this.#file('kme-psk');
    if (pskFile !== undefined) {
      if (cert !== undefined)
        conflict(this.#context, this.#pathOf('kme-psk'), 'takes the place of kme-cert and kme-key');
      return { by: 'psk', pskFile };
    }
    if (this.#value('unsafe-plaintext-kme')) return { by: 'unsafe-plaintext' };
    const credentials = { cert: cert ?? own.cert, key: key ?? own.key, ca: this.#file('kme-ca') ?? own.ca };
    if (this.#context.reportMissingCredentials) {
      for (const part of ['cert', 'key', 'ca'] as const) {
        if (credentials[part] === '') this.#context.problem([`kme-${part}`], ConfigErrorCode.missingKey, 'is missing');
      }
    }
    return {
      by: 'certificate',
      credentials,
      ...given('serverName', this.#value('kme-server-name')),
      ...given('kmeId', this.#value('kme-id')),
      ...given('pinnedSha256', this.#value('kme-pin')),
    };
  }

  #settings(): KmeApiSettings {
    switch (this.#api) {
      case 'etsi004':
        return {
          etsi004: {
            ksid: this.#value('ksid') ?? 'allocated',
            openAs: this.#value('open-as') ?? 'same',
            ...given('uriTemplate', this.#value('sae-uri')),
            ...given('keepConnectionMs', this.#duration('keep-connection')),
            qos: this.#qos(),
            qosBounds: this.#qosBounds(),
          },
        };
      case 'etsi014':
        return {
          etsi014: {
            ...given('maxKeysPerRequest', this.#value('keys-per-request')),
            ...given('extensionMandatory', this.#extensions('extension-mandatory')),
            ...given('extensionOptional', this.#extensions('extension-optional')),
            quirks: {
              ...given('keySizeInBytes', this.#value('key-size-in-bytes')),
              ...given('oneBatchAtATime', this.#value('one-batch-at-a-time')),
              ...given('unknownKeyStatuses', this.#value('unknown-key-status')),
              ...given('minKeyAgeMs', this.#duration('min-key-age')),
              ...given('getOnly', this.#value('get-only')),
            },
          },
        };
      case 'skip':
        return { skip: given('upperCaseKeyIds', this.#value('upper-case-key-ids')) };
    }
  }

  #qos(): Etsi004QosSettings {
    const ttlMs = this.#duration('qos-ttl');
    return {
      keysPerChunk: (this.#value('key-chunk-size') ?? DEFAULT_KEY_CHUNK_BYTES) / KEY_BYTES,
      ...given('maxBps', this.#value('qos-max-bps')),
      ...given('minBps', this.#value('qos-min-bps')),
      ...given('jitterBps', this.#value('qos-jitter')),
      ...given('priority', this.#value('qos-priority')),
      ...given('timeoutMs', this.#duration('qos-timeout')),
      ...given('ttlSeconds', ttlMs === undefined ? undefined : Math.ceil(ttlMs / 1_000)),
      ...given('metadata', this.#value('qos-metadata')),
    };
  }

  #qosBounds(): Etsi004QosBounds {
    const [min, max] = [this.#value('qos-accept-min-chunk'), this.#value('qos-accept-max-chunk')];
    if (min !== undefined && max !== undefined && min > max) {
      conflict(this.#context, this.#pathOf('qos-accept-min-chunk'), `is more than qos-accept-max-chunk, ${max}`);
    }
    const minTtlMs = this.#duration('qos-accept-min-ttl');
    return {
      ...given('minKeyChunkSizeBytes', min),
      ...given('maxKeyChunkSizeBytes', max),
      ...given('minBps', this.#value('qos-accept-min-bps')),
      ...given('minTtlSeconds', minTtlMs === undefined ? undefined : Math.ceil(minTtlMs / 1_000)),
      ...given('maxTimeoutMs', this.#duration('qos-accept-max-timeout')),
    };
  }

  #extensions(key: 'extension-mandatory' | 'extension-optional'): Record<string, unknown>[] | undefined {
    const texts = this.#value(key);
    if (texts !== undefined && this.#value('get-only'))
      conflict(this.#context, this.#pathOf(key), 'has no place in a GET request, which is all that get-only sends');
    return texts?.map((text) => {
      const at = text.indexOf('=');
      return { [text.slice(0, at)]: jsonOrText(text.slice(at + 1)) };
    });
  }

  #file(key: 'kme-cert' | 'kme-key' | 'kme-ca' | 'kme-psk'): string | undefined {
    const text = this.#value(key);
    return text === undefined ? undefined : this.#context.filePath(this.#pathOf(key), text);
  }

  #duration(
    key:
      | 'keep-connection'
      | 'qos-timeout'
      | 'qos-ttl'
      | 'qos-accept-min-ttl'
      | 'qos-accept-max-timeout'
      | 'min-key-age',
  ) {
    const text = this.#value(key);
    return text === undefined ? undefined : this.#context.durationMs(this.#pathOf(key), text);
  }
}

/** JSON where it is that, else the text itself. */
function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** A property where there is a value. */
function given<K extends string, V>(name: K, value: V | undefined): { readonly [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [P in K]?: V };
}
