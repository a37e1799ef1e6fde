/** Stable codes of what can be wrong in a configuration, file or command line. Documented in docs/errors.md; a test compares the two. */
export const ConfigErrorCode = {
  /** The configuration file, or a file that it names, can't be read. */
  file: 'ERR_CONFIG_FILE',
  /** The configuration file is not YAML, or uses what is not supported of it. */
  syntax: 'ERR_CONFIG_SYNTAX',
  /** A key that nobody knows. */
  unknownKey: 'ERR_CONFIG_UNKNOWN_KEY',
  /** A key that is needed is not there. */
  missingKey: 'ERR_CONFIG_MISSING_KEY',
  /** A value of the wrong type, form or range. */
  value: 'ERR_CONFIG_VALUE',
  /** Two settings that can't both hold. */
  conflict: 'ERR_CONFIG_CONFLICT',
  /** A plaintext side off loopback, without `unsafe-plaintext-off-loopback`. */
  plaintext: 'ERR_CONFIG_PLAINTEXT',
  /** A certificate, key or CA that can't be used, or a key that does not belong to its certificate. */
  credentials: 'ERR_CONFIG_CREDENTIALS',
} as const;
export type ConfigErrorCode = (typeof ConfigErrorCode)[keyof typeof ConfigErrorCode];

/** Where in a file a problem is; both count from 1. */
export interface ConfigPosition {
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong. */
export interface ConfigProblem {
  readonly code: ConfigErrorCode;
  /** The key as it is written: `services[0].peer-sae` in a file, `--peer-sae` on the command line. */
  readonly key?: string;
  /** What is wrong and what is allowed, in one line. */
  readonly message: string;
  readonly position?: ConfigPosition;
}

/** A configuration that can't be used: all that is wrong with it, in the order of the file. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** The first problem's. */
  readonly code: ConfigErrorCode;
  readonly problems: readonly ConfigProblem[];
  /** The configuration file, if there is one. */
  readonly file?: string;

  constructor(problems: readonly [ConfigProblem, ...ConfigProblem[]], file?: string) {
    super(problems.map((problem) => problemText(problem, file)).join('; '));
    this.code = problems[0].code;
    this.problems = problems;
    if (file !== undefined) this.file = file;
  }
}

/** Whether it is a ConfigError, also one of a second copy of this module (some loaders make one for `import()`). */
export function isConfigError(error: unknown): error is ConfigError {
  return error instanceof Error && error.name === 'ConfigError' && 'problems' in error;
}

/** `qstunnel.yaml:12:3: services[0].peer-sae: …` */
export function problemText(problem: ConfigProblem, file?: string): string {
  const { position, key, message } = problem;
  const place = file === undefined ? '' : `${file}${position ? `:${position.line}:${position.column}` : ''}: `;
  return `${place}${key === undefined ? '' : `${key}: `}${message}`;
}
