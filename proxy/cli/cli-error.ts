import { ConfigErrorCode } from '../config/config-error.ts';

/** Stable codes of the command line itself. Documented in docs/errors.md; a test compares the two. */
export const CliErrorCode = {
  /** An unknown command or option, or a value that an option does not take. */
  usage: 'ERR_CLI_USAGE',
  /** A file that the command was told to read or write can't be, or is there already. */
  file: 'ERR_CLI_FILE',
  /** `doctor` or `keys` found something wrong: its own output says what. */
  verdict: 'ERR_CLI_VERDICT',
  /** dist/ is missing (said by proxy/bin.mjs). */
  notBuilt: 'ERR_CLI_NOT_BUILT',
  /** A bug in this program. */
  internal: 'ERR_CLI_INTERNAL',
} as const;
export type CliErrorCode = (typeof CliErrorCode)[keyof typeof CliErrorCode];

/** What ends a command, as one line for the user. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly code: CliErrorCode;

  constructor(code: CliErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Exit codes of the program. */
export const ExitCode = { ok: 0, failed: 1, usage: 2 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

const USAGE_CODES: ReadonlySet<string> = new Set([CliErrorCode.usage, ...Object.values(ConfigErrorCode)]);

/** 2 for what the user can mend on the command line or in the configuration, else 1. */
export function exitCodeOf(code: string): ExitCode {
  return USAGE_CODES.has(code) ? ExitCode.usage : ExitCode.failed;
}
