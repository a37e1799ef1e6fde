/** What zod found, said for people: which key, what is wrong, what is allowed. */
import type { z } from 'zod';
import { ConfigErrorCode as Code, type ConfigErrorCode } from './config-error.ts';
import { nearest } from './suggestion.ts';

/** A problem at a path of the input; `at` says whether the key or its value is to blame. */
export interface SchemaProblem {
  readonly path: readonly (string | number)[];
  readonly at: 'key' | 'value';
  readonly code: ConfigErrorCode;
  readonly message: string;
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping of keys',
};
const MAX_SHOWN_LENGTH = 60;

/** `input` is what was parsed; `knownKeys` gives the keys that are allowed at a path. */
export function schemaProblems(
  error: z.ZodError,
  input: unknown,
  knownKeys: (path: readonly (string | number)[]) => readonly string[],
): SchemaProblem[] {
  return error.issues
    .flatMap((one) => issuesWithin(one, input))
    .flatMap((issue) => {
      const path = issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part));
      const value = path.reduce<unknown>(
        (at, part) => (at as Record<string | number, unknown> | undefined)?.[part],
        input,
      );
      if (issue.code === 'unrecognized_keys') {
        return issue.keys.map((key) => unknownKey([...path, key], key, knownKeys(path)));
      }
      if (value === undefined) return [{ path, at: 'key' as const, code: Code.missingKey, message: 'is missing' }];
      return [{ path, at: 'value' as const, code: Code.value, message: messageOf(issue, value) }];
    });
}

/** Of a union that takes lists or mappings: what is wrong with the elements of the one that was written. */
function issuesWithin(issue: z.core.$ZodIssue, input: unknown): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const value = issue.path.reduce<unknown>(
    (at, part) => (at as Record<PropertyKey, unknown> | undefined)?.[part],
    input,
  );
  if (typeof value !== 'object' || value === null) return [issue];
  const branch = issue.errors.find(
    (issues) => !issues.some(({ code, path }) => code === 'invalid_type' && path.length === 0),
  );
  if (branch === undefined) return [issue];
  return branch.flatMap((inner) => issuesWithin({ ...inner, path: [...issue.path, ...inner.path] }, input));
}

function unknownKey(path: readonly (string | number)[], key: string, known: readonly string[]): SchemaProblem {
  const meant = nearest(key, known);
  const message =
    meant === undefined ? `is not known; allowed: ${known.join(', ')}` : `is not known; did you mean ${meant}?`;
  return { path, at: 'key', code: Code.unknownKey, message };
}

function messageOf(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      // A text that schema.ts gave says more than the name of a type.
      if (!issue.message.startsWith('Invalid input')) return `is ${shown(value)}, ${issue.message}`;
      return `is ${shown(value)}, must be ${TYPE_NAMES[issue.expected] ?? issue.expected}${hint(issue.expected, value)}`;
    case 'invalid_value':
      return `is ${shown(value)}, must be one of ${issue.values.join(', ')}`;
    case 'too_small':
      if (issue.origin === 'array') return 'must have at least one element';
      return issue.origin === 'string' ? 'must not be empty' : `is ${shown(value)}, must be at least ${issue.minimum}`;
    case 'too_big':
      if (issue.origin === 'array') return `has more than ${issue.maximum} elements`;
      return issue.origin === 'string'
        ? `is longer than ${issue.maximum} characters`
        : `is ${shown(value)}, must be at most ${issue.maximum}`;
    default:
      // The others carry the text that schema.ts gave them.
      return `is ${shown(value)}, ${issue.message}`;
  }
}

function hint(expected: string, value: unknown): string {
  if (expected === 'array' && typeof value === 'string') return `, as in [${value.slice(0, MAX_SHOWN_LENGTH)}]`;
  if (expected === 'string' && typeof value === 'number') return `: write "${value}"`;
  return '';
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (value === null) return 'empty';
  if (typeof value === 'object') return 'a mapping of keys';
  // A key pasted or opened by mistake must not reach a terminal or a log.
  if (typeof value === 'string' && value.includes('-----BEGIN')) return 'PEM text';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > MAX_SHOWN_LENGTH ? `${text.slice(0, MAX_SHOWN_LENGTH)}…` : text;
}
