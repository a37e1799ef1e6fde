/**
 * From what was written to what is meant: defaults joined and filled in, units
 * and addresses read, and the checks that need more than one key.
 */
import { resolve as resolvePath } from 'node:path';
import { addressText, type SocketAddress } from '../data-path/raw-socket.ts';
import {
  DEFAULT_KEY_WAIT_MS,
  DEFAULT_REQUIREMENT,
  demandQkd,
  needsPqc,
  needsQkd,
  type PolicySettings,
} from '../policy.ts';
import { DEFAULT_REKEY_AFTER, type RekeyAfter } from '../tunnel/key-budget.ts';
import { DEFAULT_LIMITS } from '../tunnel/settings.ts';
import { isLocalAddress, parseAddress } from './address.ts';
import { ConfigErrorCode } from './config-error.ts';
import { parseDuration } from './duration.ts';
import { type KeyPath, resolveKmes } from './resolve-kme.ts';
import {
  type Authentication,
  type CipherSuiteName,
  type DefaultsInput,
  type FileInput,
  type GroupName,
  requiredSettings,
  type ServiceInput,
} from './schema.ts';
import type { CredentialPaths, KmeConfig, ProxyConfig, ServiceConfig } from './service-config.ts';
import { parseSize } from './size.ts';

const DEFAULT_KEYS_AHEAD = 4;
const DEFAULT_KEYS_AHEAD_MAX = 256;
const DEFAULT_KEY_TTL_MS = 3_600_000;
const DEFAULT_KME_FAIL_BACK_MS = 60_000;
const DEFAULT_BUDGET_HORIZON_MS = 60_000;
const DEFAULT_DRAIN_TIMEOUT_MS = 30_000;
const DEFAULT_GROUPS: readonly GroupName[] = ['X25519MLKEM768'];
const DEFAULT_CIPHER_SUITES: Readonly<Record<Authentication, readonly CipherSuiteName[]>> = {
  certificate: ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256'],
  // A plain external PSK has no hash but SHA-256.
  psk: ['TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'],
};

/** Takes note of a problem with a key of the service at `index`, or of the file if `index` is undefined. */
export type Report = (index: number | undefined, key: KeyPath, code: ConfigErrorCode, message: string) => void;

/** How keys are named in messages, and what relative paths are relative to. */
export interface ResolveContext {
  readonly report: Report;
  readonly directory: string;
  /** `peer-sae` in a file, `--peer-sae` on the command line. */
  keyText(key: string): string;
}

/** The configuration that `input` means; incomplete where problems were reported. */
export function resolveConfig(input: FileInput, context: ResolveContext): ProxyConfig {
  const services = input.services.map((service, index) => {
    return new ServiceResolver(service, input.defaults ?? {}, index, context).resolve();
  });
  checkTogether(services, context);
  return {
    services,
    ...(input.ledger === undefined ? {} : { ledger: resolvePath(context.directory, input.ledger) }),
    logLevel: input['log-level'] ?? 'info',
    drainTimeoutMs: durationOf(input['drain-timeout'], DEFAULT_DRAIN_TIMEOUT_MS, (message) => {
      context.report(undefined, ['drain-timeout'], ConfigErrorCode.value, message);
    }),
  };
}

class ServiceResolver {
  readonly #input: ServiceInput;
  readonly #index: number;
  readonly #context: ResolveContext;

  constructor(service: ServiceInput, defaults: DefaultsInput, index: number, context: ResolveContext) {
    this.#input = { ...defaults, ...service };
    this.#index = index;
    this.#context = context;
  }

  resolve(): ServiceConfig {
    const input = this.#input;
    for (const key of requiredSettings(input.auth)) {
      if (input[key] === undefined) this.#problem(key, ConfigErrorCode.missingKey, 'is missing');
    }
    const accept = this.#address('accept');
    const connect = this.#address('connect');
    const credentials = this.#credentials();
    const auth = input.auth ?? 'certificate';
    const policy: PolicySettings = {
      require: input.require ?? DEFAULT_REQUIREMENT,
      unsafeAllowClassical: input['unsafe-allow-classical'] ?? false,
      keyWaitMs: this.#duration('key-wait', DEFAULT_KEY_WAIT_MS),
    };
    const keysAhead = input['keys-ahead'] ?? DEFAULT_KEYS_AHEAD;
    const service: ServiceConfig = {
      name: input.name,
      mode: input.mode,
      accept,
      connect,
      sae: input.sae ?? '',
      peerSae: input['peer-sae'] ?? [],
      auth,
      ...(auth === 'psk' ? {} : { credentials }),
      ...(input['verify-host'] === undefined ? {} : { verifyHost: input['verify-host'] }),
      requireAuth: input['require-auth'] ?? 'any',
      kmes: this.#kmes(credentials),
      kmeChoose: input['kme-choose'] ?? 'ordered',
      kmeFailBackMs: this.#duration('kme-fail-back', DEFAULT_KME_FAIL_BACK_MS),
      keysAhead,
      keysAheadMax: input['keys-ahead-max'] ?? Math.max(keysAhead, DEFAULT_KEYS_AHEAD_MAX),
      keyTtlMs: this.#duration('key-ttl', DEFAULT_KEY_TTL_MS),
      ...(input.remember === undefined ? {} : { rememberMs: this.#duration('remember', 0) }),
      policy: auth === 'psk' ? demandQkd(policy, 'auth: psk') : policy,
      rekeyAfter: this.#rekeyAfter(),
      tickets: input.tickets ?? 0,
      limits: {
        maxConnections: input['max-connections'] ?? DEFAULT_LIMITS.maxConnections,
        maxPendingHandshakes: input['max-pending-handshakes'] ?? DEFAULT_LIMITS.maxPendingHandshakes,
        handshakeTimeoutMs: this.#duration('handshake-timeout', DEFAULT_LIMITS.handshakeTimeoutMs),
        connectTimeoutMs: this.#duration('connect-timeout', DEFAULT_LIMITS.connectTimeoutMs),
        idleTimeoutMs: this.#duration('idle-timeout', DEFAULT_LIMITS.idleTimeoutMs),
        halfClosedTimeoutMs: this.#duration('half-closed-timeout', DEFAULT_LIMITS.halfClosedTimeoutMs),
      },
      groups: input.groups ?? DEFAULT_GROUPS,
      cipherSuites: (input['cipher-suites'] ?? DEFAULT_CIPHER_SUITES[auth]).filter(
        (suite) => auth !== 'psk' || suite.endsWith('_SHA256'),
      ),
      unsafeAllowSimulated: input['unsafe-allow-simulated'] ?? false,
      provenance: {
        ...(input['max-hops'] === undefined ? {} : { maxHops: input['max-hops'] }),
        ...(input['max-key-age'] === undefined ? {} : { maxAgeMs: this.#duration('max-key-age', 0) }),
        unknown: input['unknown-provenance'] ?? 'allow',
      },
      budget: {
        reserve: input['budget-reserve'] ?? 0,
        horizonMs: this.#duration('budget-horizon', DEFAULT_BUDGET_HORIZON_MS),
        ...(input['budget-priority'] === undefined ? {} : { priority: input['budget-priority'] }),
        ...(input['budget-share'] === undefined ? {} : { weight: input['budget-share'] }),
      },
    };
    this.#checkPlaintextSide(service);
    this.#checkPolicy(service);
    if (auth === 'psk') this.#checkPlainMode(service);
    this.#checkTimeouts(service);
    this.#checkBudget(service);
    return service;
  }

  #problem(key: string | KeyPath, code: ConfigErrorCode, message: string): void {
    this.#context.report(this.#index, typeof key === 'string' ? [key] : key, code, message);
  }

  #conflict(key: string, message: string): void {
    this.#problem(key, ConfigErrorCode.conflict, message);
  }

  #key(key: string): string {
    return this.#context.keyText(key);
  }

  #address(key: 'accept' | 'connect'): SocketAddress {
    try {
      const address = parseAddress(String(this.#input[key]));
      if (key === 'connect' && 'port' in address && address.port === 0)
        throw new RangeError('a port to connect to is 1 to 65535');
      return 'path' in address ? { path: resolvePath(this.#context.directory, address.path) } : address;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#problem(key, ConfigErrorCode.value, error.message);
      return { host: '127.0.0.1', port: 0 };
    }
  }

  #duration(key: keyof ServiceInput, defaultMs: number): number {
    return durationOf(this.#input[key] as string | undefined, defaultMs, (message) => {
      this.#problem(key, ConfigErrorCode.value, message);
    });
  }

  #path(key: 'cert' | 'key' | 'ca'): string | undefined {
    const path = this.#input[key];
    return path === undefined ? undefined : this.#pathOf([key], path);
  }

  #pathOf(key: KeyPath, path: string): string | undefined {
    if (path.includes('-----BEGIN')) {
      this.#problem(key, ConfigErrorCode.value, 'holds PEM text; write the path of a file');
      return undefined;
    }
    return resolvePath(this.#context.directory, path);
  }

  #credentials(): CredentialPaths {
    return { cert: this.#path('cert') ?? '', key: this.#path('key') ?? '', ca: this.#path('ca') ?? '' };
  }

  #kmes(credentials: CredentialPaths): KmeConfig[] {
    return resolveKmes(this.#input, {
      problem: (path, code, message) => this.#problem(path, code, message),
      keyText: (key) => this.#key(key),
      filePath: (path, text) => this.#pathOf(path, text) ?? '',
      durationMs: (path, text) => durationOf(text, 0, (message) => this.#problem(path, ConfigErrorCode.value, message)),
      ownCredentials: credentials,
      // Otherwise those of the tunnel were missed already.
      reportMissingCredentials: this.#input.auth === 'psk',
    });
  }

  #rekeyAfter(): RekeyAfter {
    const { time, bytes: text, connections } = this.#input['rekey-after'] ?? {};
    const report = (message: string) => this.#problem('rekey-after', ConfigErrorCode.value, message);
    const timeMs = durationOf(time, DEFAULT_REKEY_AFTER.timeMs, (message) => report(`time ${message}`));
    const bytes = text === undefined ? undefined : parsed(parseSize, text, (message) => report(`bytes ${message}`));
    if (bytes === 0) report('bytes must be more than 0');
    return {
      timeMs,
      ...(bytes === undefined ? {} : { bytes }),
      connections: connections ?? DEFAULT_REKEY_AFTER.connections,
    };
  }

  #checkPlaintextSide(service: ServiceConfig): void {
    const key = service.mode === 'client' ? 'accept' : 'connect';
    const address = service[key];
    if (isLocalAddress(address) || this.#input['unsafe-plaintext-off-loopback']) return;
    const port = 'port' in address ? address.port : 0;
    this.#problem(
      key,
      ConfigErrorCode.plaintext,
      `${addressText(address)} is the plaintext side and not loopback; write 127.0.0.1:${port} or unix:/path, or set ${this.#key('unsafe-plaintext-off-loopback')}`,
    );
  }

  #checkPolicy(service: ServiceConfig): void {
    const { require, unsafeAllowClassical } = service.policy;
    if (service.sae !== '' && service.peerSae.includes(service.sae)) {
      this.#conflict('peer-sae', `names our own SAE ${service.sae}: nobody is their own peer`);
    }
    if (needsQkd(require) && this.#input.kme === undefined && service.auth !== 'psk') {
      this.#conflict('require', `${require} needs QKD keys, and there is no ${this.#key('kme')} to give them`);
    }
    if (service.rememberMs !== undefined && this.#input.kme === undefined && service.auth !== 'psk') {
      this.#conflict('remember', `has nothing to remember without ${this.#key('kme')}`);
    }
    const postQuantum = service.groups.some((group) => group.includes('MLKEM'));
    const classicalWillDo =
      require === 'qkd' || (require === 'qkd-or-pqc' && (service.kmes.length > 0 || unsafeAllowClassical));
    if (!postQuantum && (needsPqc(require) || !classicalWillDo)) {
      this.#conflict('groups', `has no post-quantum group, and ${require} needs one, as X25519MLKEM768`);
    }
    if (service.verifyHost !== undefined && service.mode === 'server') {
      this.#conflict('verify-host', 'is for services of mode client: the certificates of clients name no host');
    }
    const { accept, connect } = service;
    const chosen = 'path' in accept || accept.port !== 0;
    if (chosen && addressText(accept) === addressText(connect))
      this.#conflict('connect', `is the address that is accepted on, ${addressText(accept)}`);
  }

  /** `auth: psk`: what stock peers can do, and what is known of a key without its announcement. */
  #checkPlainMode({ kmes, mode, peerSae, cipherSuites, verifyHost, rememberMs, requireAuth }: ServiceConfig): void {
    if (peerSae.length > 1) {
      this.#conflict('peer-sae', 'names one SAE with auth: psk: the one that the key manager is asked about');
    }
    if (requireAuth === 'pq') {
      this.#conflict('require-auth', 'is about certificates, and auth: psk has none');
    }
    for (const key of ['rekey-after', 'tickets'] as const) {
      const set = this.#input[key] !== undefined && this.#input[key] !== 0;
      if (set) this.#conflict(key, 'is between our own proxies only, and auth: psk is for stock peers');
    }
    if (rememberMs !== undefined) {
      this.#conflict('remember', 'has nothing to remember with auth: psk: every connection has a QKD key');
    }
    if (verifyHost !== undefined) this.#conflict('verify-host', 'has no certificate to look into with auth: psk');
    if (cipherSuites.length === 0) {
      this.#conflict('cipher-suites', 'has no suite with SHA-256, and auth: psk knows no other');
    }
    if (this.#input.kme === undefined) {
      this.#conflict('auth', `psk authenticates by keys, and there is no ${this.#key('kme')} to give them`);
    } else if (mode === 'server' && kmes.some(({ settings }) => settings.etsi004 !== undefined)) {
      this.#conflict(
        'kme',
        'can not look keys up by name over 004, as a server with auth: psk must; use etsi014 or skip',
      );
    }
  }

  #checkBudget({ mode, keysAhead, keysAheadMax, budget }: ServiceConfig): void {
    if (keysAheadMax < keysAhead) {
      this.#conflict('keys-ahead-max', `is less than ${this.#key('keys-ahead')}, which is ${keysAhead}`);
    }
    if (mode === 'client' && budget.reserve >= keysAhead) {
      this.#conflict('budget-reserve', `leaves no key for connections: ${this.#key('keys-ahead')} is ${keysAhead}`);
    }
  }

  #checkTimeouts(service: ServiceConfig): void {
    const { handshakeTimeoutMs, connectTimeoutMs, halfClosedTimeoutMs } = service.limits;
    const never: readonly (readonly [string, number])[] = [
      ['handshake-timeout', handshakeTimeoutMs],
      ['connect-timeout', connectTimeoutMs],
      ['half-closed-timeout', halfClosedTimeoutMs],
      ['key-ttl', service.keyTtlMs],
      ['remember', service.rememberMs ?? 1],
    ];
    for (const [key, milliseconds] of never) {
      if (milliseconds === 0) this.#problem(key, ConfigErrorCode.value, 'must be longer than 0');
    }
  }
}

/** Names and addresses that two services can't share. */
function checkTogether(services: readonly ServiceConfig[], { report }: ResolveContext): void {
  const names = new Map<string, number>();
  const addresses = new Map<string, string>();
  services.forEach((service, index) => {
    if (names.has(service.name))
      report(index, ['name'], ConfigErrorCode.conflict, `${service.name} is taken by another service`);
    else names.set(service.name, index);
    if ('port' in service.accept && service.accept.port === 0) return;
    const text = addressText(service.accept);
    const other = addresses.get(text);
    if (other === undefined) addresses.set(text, service.name);
    else report(index, ['accept'], ConfigErrorCode.conflict, `${text} is accepted on by service ${other} already`);
  });
}

function durationOf(text: string | undefined, defaultMs: number, problem: (message: string) => void): number {
  if (text === undefined) return defaultMs;
  return parsed(parseDuration, text, problem) ?? defaultMs;
}

/** A value as its parser reads it; what it refuses is reported, and undefined. */
function parsed(parse: (text: string) => number, text: string, problem: (message: string) => void): number | undefined {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    problem(error.message);
    return undefined;
  }
}
