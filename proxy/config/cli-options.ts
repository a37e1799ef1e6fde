/** The settings of schema.ts as options of `qstunnel server` and `qstunnel client`. */
import type { Argv, Options } from 'yargs';
import { z } from 'zod';
import { ConfigError, ConfigErrorCode, type ConfigProblem } from './config-error.ts';
import { KME_SETTINGS, kmeOptionSchema } from './kme-schema.ts';
import { resolveConfig } from './resolve.ts';
import {
  fileSchema,
  PROCESS_SETTINGS,
  REQUIRED_SETTINGS,
  requiredSettings,
  SERVICE_SETTINGS,
  serviceSchema,
} from './schema.ts';
import { schemaProblems } from './schema-problems.ts';
import type { ProxyConfig } from './service-config.ts';

type OptionName =
  | Exclude<keyof typeof SERVICE_SETTINGS, 'rekey-after'>
  | `rekey-after.${'time' | 'bytes' | 'connections'}`
  | keyof typeof PROCESS_SETTINGS
  | 'name'
  | 'accept'
  | 'connect';

/** How `--help` groups the options. */
const GROUPS: Readonly<Record<string, readonly OptionName[]>> = {
  'Required:': ['accept', 'connect', ...REQUIRED_SETTINGS],
  'Keys:': ['require', 'remember', 'key-wait', 'keys-ahead', 'keys-ahead-max', 'key-ttl', 'ledger'],
  'Provenance:': ['max-hops', 'max-key-age', 'unknown-provenance'],
  'Key budget:': [
    ...(['rekey-after.time', 'rekey-after.bytes', 'rekey-after.connections', 'tickets'] as const),
    ...(['budget-reserve', 'budget-priority', 'budget-share', 'budget-horizon'] as const),
  ],
  'Key manager:': [
    ...(['kme', 'kme-choose', 'kme-fail-back'] as const),
    ...(Object.keys(KME_SETTINGS) as (keyof typeof KME_SETTINGS)[]).filter((key) => key !== 'unsafe-plaintext-kme'),
  ],
  'TLS:': ['auth', 'require-auth', 'verify-host', 'groups', 'cipher-suites'],
  'Limits:': [
    'max-connections',
    'max-pending-handshakes',
    'handshake-timeout',
    'connect-timeout',
    'idle-timeout',
    'half-closed-timeout',
    'drain-timeout',
  ],
  'Unsafe:': [
    'unsafe-allow-classical',
    'unsafe-allow-simulated',
    'unsafe-plaintext-off-loopback',
    'unsafe-plaintext-kme',
  ],
};

const { name, accept, connect } = serviceSchema.shape;
const SETTINGS: Readonly<Record<string, z.ZodType>> = {
  name,
  accept,
  connect,
  ...SERVICE_SETTINGS,
  kme: kmeOptionSchema,
  ...PROCESS_SETTINGS,
};

/** Adds an option for each setting. `--verify-host` is for clients only. */
export function serviceOptions<T>(parser: Argv<T>, mode: 'client' | 'server'): Argv<T> {
  let withOptions = parser;
  for (const [option, schema] of Object.entries(SETTINGS)) {
    if (mode === 'server' && option === 'verify-host') continue;
    if (schema instanceof z.ZodObject) {
      // Settings in a setting: `--rekey-after.time`, which yargs makes one object of and then takes for an option too.
      withOptions = withOptions.option(option, { hidden: true }) as Argv<T>;
      for (const [key, part] of Object.entries(schema.shape)) {
        withOptions = withOptions.option(`${option}.${key}`, yargsOption((part as z.ZodOptional).unwrap())) as Argv<T>;
      }
      continue;
    }
    withOptions = withOptions.option(option, yargsOption(schema)) as Argv<T>;
  }
  for (const [title, options] of Object.entries(GROUPS)) {
    withOptions = withOptions.group(
      options.filter((option) => mode === 'client' || option !== 'verify-host'),
      title,
    );
  }
  return withOptions;
}

/** Options by which key managers are asked, for commands that start no service: see `configFromOptions`. */
export function keyManagerOptions<T>(parser: Argv<T>): Argv<T> {
  const own: readonly OptionName[] = [...REQUIRED_SETTINGS, 'kme', 'keys-ahead'];
  const names = [...own, ...(Object.keys(KME_SETTINGS) as (keyof typeof KME_SETTINGS)[])];
  let withOptions = parser;
  for (const option of names) {
    withOptions = withOptions.option(option, yargsOption(SETTINGS[option] as z.ZodType)) as Argv<T>;
  }
  return withOptions.group([...own], 'Whom to ask:').group(Object.keys(KME_SETTINGS), 'Key manager:') as Argv<T>;
}

function yargsOption(schema: z.core.$ZodType): Options {
  const describe = z.globalRegistry.get(schema)?.description ?? '';
  if (schema instanceof z.ZodBoolean) return { type: 'boolean', describe };
  if (schema instanceof z.ZodNumber) return { type: 'number', requiresArg: true, describe };
  if (schema instanceof z.ZodEnum) return { choices: schema.options, requiresArg: true, describe };
  if (schema instanceof z.ZodArray) {
    const choices = schema.element instanceof z.ZodEnum ? { choices: schema.element.options } : {};
    const type = schema.element instanceof z.ZodNumber ? 'number' : 'string';
    return { type, array: true, describe: `${describe}; repeatable`, ...choices };
  }
  return { type: 'string', requiresArg: true, describe };
}

/**
 * The configuration of one service, from what yargs parsed. The service is
 * named after its mode unless `--name` says otherwise.
 *
 * @throws ConfigError whose keys are options, such as `--peer-sae`.
 */
export function configFromOptions(mode: 'client' | 'server', argv: Readonly<Record<string, unknown>>): ProxyConfig {
  const given = (names: readonly string[]) =>
    Object.fromEntries(names.filter((one) => argv[one] !== undefined).map((one) => [one, argv[one]]));
  const service = { name: mode, mode, ...given(['name', 'accept', 'connect', ...Object.keys(SERVICE_SETTINGS)]) };
  const input = { ...given(Object.keys(PROCESS_SETTINGS)), services: [service] };
  const problems: ConfigProblem[] = [];
  for (const [option, schema] of Object.entries(SETTINGS)) {
    const value = argv[option];
    if (!Array.isArray(value) || schema instanceof z.ZodArray) continue;
    throw new ConfigError([
      problem(option, ConfigErrorCode.value, `is given ${value.length} times, and has one value`),
    ]);
  }
  const parsed = fileSchema.safeParse(input);
  if (!parsed.success) {
    for (const { path, code, message } of schemaProblems(parsed.error, input, knownParts)) {
      const option = path.filter((part, i) => typeof part === 'string' && !(i === 0 && part === 'services'));
      problems.push(problem(option.join('.'), code, message));
    }
    for (const key of requiredSettings(argv.auth)) {
      if (argv[key] === undefined) problems.push(problem(key, ConfigErrorCode.missingKey, 'is missing'));
    }
    throw new ConfigError(problems as [ConfigProblem, ...ConfigProblem[]]);
  }
  const config = resolveConfig(parsed.data, {
    directory: process.cwd(),
    keyText: (key) => `--${key}`,
    report: (_index, [key], code, message) => problems.push(problem(key, code, message)),
  });
  if (problems.length > 0) throw new ConfigError(problems as [ConfigProblem, ...ConfigProblem[]]);
  return config;
}

/** The settings in a setting. */
function knownParts(path: readonly (string | number)[]): readonly string[] {
  const schema = SETTINGS[String(path[path.length - 1])];
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function problem(option: string, code: ConfigErrorCode, message: string): ConfigProblem {
  return { code, key: `--${option}`, message };
}
