/** Configuration files: YAML 1.2, checked, with the line of everything that is wrong. */
import { dirname } from 'node:path';
import { type Document, isMap, isNode, isScalar, LineCounter, parseDocument } from 'yaml';
import { ConfigError, ConfigErrorCode, type ConfigPosition, type ConfigProblem } from './config-error.ts';
import { kmeElementSchema } from './kme-schema.ts';
import { resolveConfig } from './resolve.ts';
import { defaultsSchema, fileSchema, SERVICE_SETTINGS, serviceSchema } from './schema.ts';
import { schemaProblems } from './schema-problems.ts';
import type { ProxyConfig } from './service-config.ts';
import { readTextFile, UnreadableFile } from './text-file.ts';

/** Most problems that are listed; the others come up when these are mended. */
const MAX_PROBLEMS = 20;

type Path = readonly (string | number)[];

/**
 * Reads and checks a configuration file. Relative paths in it are relative to its folder.
 *
 * @throws ConfigError with every problem found, in the order of the file.
 */
export async function loadConfigFile(file: string): Promise<ProxyConfig> {
  try {
    return parseConfig((await readTextFile(file)).text, file);
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    const message = `the configuration file can not be read: ${error.message}`;
    throw new ConfigError([{ code: ConfigErrorCode.file, message }], file);
  }
}

/**
 * Checks the text of a configuration file. `file` is for messages and relative paths.
 *
 * @throws ConfigError with every problem found, in the order of the file.
 */
export function parseConfig(text: string, file: string): ProxyConfig {
  const lineCounter = new LineCounter();
  const document = parseDocument(text, { lineCounter, prettyErrors: false, strict: true, logLevel: 'error' });
  const problems: ConfigProblem[] = [];
  const where = (path: Path, at: 'key' | 'value') => positionOf(document, lineCounter, path, at);
  const fail = (): never => {
    const sorted = problems.sort((a, b) => (a.position?.line ?? 0) - (b.position?.line ?? 0)).slice(0, MAX_PROBLEMS);
    throw new ConfigError(sorted as [ConfigProblem, ...ConfigProblem[]], file);
  };

  for (const { message, pos } of document.errors) {
    const { line, col } = lineCounter.linePos(pos[0]);
    problems.push({ code: ConfigErrorCode.syntax, message: `not YAML: ${message}`, position: { line, column: col } });
  }
  if (problems.length > 0) fail();
  const input = toPlainData(document, file);
  const parsed = fileSchema.safeParse(input ?? {});
  if (!parsed.success) {
    for (const problem of schemaProblems(parsed.error, input ?? {}, knownKeys)) {
      const { code, path, at, message } = problem;
      problems.push({ code, ...withKey(path), message, ...withPosition(where(path, at)) });
    }
    return fail();
  }
  const config = resolveConfig(parsed.data, {
    directory: dirname(file),
    keyText: (key) => key,
    report: (index, key, code, message) => {
      const own: Path = index === undefined ? key : ['services', index, ...key];
      const inDefaults: Path = ['defaults', ...key];
      const path = document.hasIn(own) || !document.hasIn(inDefaults) ? own : inDefaults;
      const hint = code === ConfigErrorCode.missingKey ? '; write it here or under defaults' : '';
      const problem = { code, key: keyText(path), message: message + hint, ...withPosition(where(path, 'value')) };
      // A bad default would come up again with every service.
      const known = problems.some((other) => other.key === problem.key && other.message === problem.message);
      if (!known) problems.push(problem);
    },
  });
  return problems.length > 0 ? fail() : config;
}

function toPlainData(document: Document, file: string): unknown {
  try {
    // Aliases could otherwise blow a small file up to any size.
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    throw new ConfigError(
      [{ code: ConfigErrorCode.syntax, message: 'aliases refer to too much, or to nothing' }],
      file,
    );
  }
}

function knownKeys(path: Path): readonly string[] {
  if (path.length === 0) return Object.keys(fileSchema.shape);
  if (path.includes('rekey-after')) return Object.keys(SERVICE_SETTINGS['rekey-after'].shape);
  if (path.includes('kme')) return Object.keys(kmeElementSchema.shape);
  return Object.keys(path[0] === 'defaults' ? defaultsSchema.shape : serviceSchema.shape);
}

/** `services[0].peer-sae` */
function keyText(path: Path): string {
  return path.map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i === 0 ? '' : '.'}${part}`)).join('');
}

/** The root has no name but that of the file. */
function withKey(path: Path): { readonly key?: string } {
  return path.length === 0 ? {} : { key: keyText(path) };
}

function withPosition(position: ConfigPosition | undefined): { readonly position?: ConfigPosition } {
  return position === undefined ? {} : { position };
}

/** Where a key or its value is written; for what is missing, where it would belong. */
function positionOf(
  document: Document,
  lines: LineCounter,
  path: Path,
  at: 'key' | 'value',
): ConfigPosition | undefined {
  for (let length = path.length; length >= 0; length--) {
    const offset = offsetOf(document, path.slice(0, length), at);
    if (offset !== undefined) {
      const { line, col } = lines.linePos(offset);
      return { line, column: col };
    }
  }
  return undefined;
}

function offsetOf(document: Document, path: Path, at: 'key' | 'value'): number | undefined {
  const last = path[path.length - 1];
  if (at === 'key' && typeof last === 'string') {
    const map = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true);
    const pair = isMap(map) ? map.items.find(({ key }) => isScalar(key) && key.value === last) : undefined;
    if (pair !== undefined && isNode(pair.key)) return pair.key.range?.[0];
    return undefined;
  }
  const node = path.length === 0 ? document.contents : document.getIn(path, true);
  return isNode(node) ? node.range?.[0] : undefined;
}
