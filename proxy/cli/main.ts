/**
 * The command line: finds the command, loads only its module, and turns
 * whatever it throws into one line on stderr and an exit code.
 *
 * A command is a file that exports a yargs `CommandModule`; it prints results
 * on stdout itself, and throws an error with a stable `code` to fail. Text
 * options have no yargs `default` (it would hide a missing value: such are
 * filled in by the handler), numbers have `requiresArg`.
 */
import yargs, { type Argv, type CommandModule } from 'yargs';
import { isConfigError, problemText } from '../config/config-error.ts';
import { nearest } from '../config/suggestion.ts';
import { errorCode, errorText } from '../errors.ts';
import { CliError, CliErrorCode, ExitCode, exitCodeOf } from './cli-error.ts';
import { jsonRefusal } from './json-refusal.ts';

// biome-ignore lint/suspicious/noExplicitAny: each command has arguments of its own type, and CommandModule is invariant in it.
type AnyCommand = CommandModule<any, any>;

interface Command {
  readonly name: string;
  readonly describe: string;
  load(): Promise<AnyCommand>;
}

const COMMANDS: readonly Command[] = [
  {
    name: 'demo',
    describe: 'Show all of it on this machine: a simulated QKD link, an attack, two proxies, two legacy applications',
    load: async () => (await import('./demo.ts')).demoCommand,
  },
  {
    name: 'server',
    describe: 'Accept tunnels from other proxies and pass what they carry to an application',
    load: async () => (await import('./server.ts')).serverCommand,
  },
  {
    name: 'client',
    describe: 'Accept connections of applications and carry them through tunnels to another proxy',
    load: async () => (await import('./client.ts')).clientCommand,
  },
  {
    name: 'sim',
    describe: 'Run a simulated QKD link with a key manager at each end',
    load: async () => (await import('./sim.ts')).simCommand,
  },
  {
    name: 'doctor',
    describe: 'Examine a key manager or the other proxy, and say what to change',
    load: async () => (await import('./doctor.ts')).doctorCommand,
  },
  {
    name: 'keys',
    describe: 'Show how many keys there are for each peer',
    load: async () => (await import('./keys.ts')).keysCommand,
  },
  {
    name: 'certs',
    describe: 'Make a small CA and certificates for proxies, SAEs and key managers',
    load: async () => (await import('./certs.ts')).certsCommand,
  },
];

/** `qstunnel --config FILE` has no command word. */
const loadRunConfig = async (): Promise<AnyCommand> => (await import('./run-config.ts')).runConfigCommand;

const HELP_WIDTH = 100;
/** More text on one error line helps nobody. */
const MAX_ERROR_LENGTH = 2_000;

/** Where the program speaks. */
export interface CliOutput {
  stdout(text: string): void;
  stderr(text: string): void;
}

const PROCESS_OUTPUT: CliOutput = {
  stdout: (text) => process.stdout.write(text),
  stderr: (text) => process.stderr.write(text),
};

/**
 * Runs the program and resolves with its exit code: 0, 1 (run time), 2 (usage
 * or configuration). Never rejects.
 *
 * @param args What follows the program's name.
 * @param version Of the package.
 */
export async function main(
  args: readonly string[],
  version: string,
  output: CliOutput = PROCESS_OUTPUT,
): Promise<ExitCode> {
  // Also in bin.mjs, which is earlier; here for those who embed this function.
  process.on('SIGUSR1', ignore);
  outliveReaders();
  try {
    const parser = await buildParser(args, version);
    await parser.parseAsync([...args], {}, (_error, _argv, text) => {
      if (text) output.stdout(`${text}\n`);
    });
    return ExitCode.ok;
  } catch (error) {
    return report(error, args, output);
  } finally {
    process.removeListener('SIGUSR1', ignore);
  }
}

async function buildParser(args: readonly string[], version: string): Promise<Argv> {
  const chosen = COMMANDS.find(({ name }) => name === args[0]);
  const fromFile = chosen === undefined && args.some((arg) => optionName(arg) === 'config');
  let parser = yargs()
    .scriptName('qstunnel')
    .usage(
      '$0 <command> [options]\n$0 --config FILE\n\nTLS 1.3 tunnels with QKD keys and ML-KEM in the handshake, for applications that know nothing of it.',
    )
    .detectLocale(false)
    .parserConfiguration({ 'greedy-arrays': false, 'camel-case-expansion': true })
    .version(version)
    .help()
    .alias('help', 'h')
    .wrap(HELP_WIDTH)
    .exitProcess(false)
    .strict()
    .check(checkValues, true)
    .fail((message, error, usage) => {
      // Complaints come as a message, as a YError, or as the Error that a command's `check` throws.
      if (error && errorCode(error) !== undefined) throw error;
      throw parsingFailure(error?.message ?? message, args, usage as unknown as Usage);
    })
    .epilogue('Exit status: 0 done, 1 failed, 2 wrong usage or configuration. "qstunnel COMMAND --help" has examples.');
  if (fromFile) return parser.command(await loadRunConfig());
  if (chosen === undefined) {
    parser = parser
      .option('config', { type: 'string', describe: 'Run the services of this YAML file instead of a command' })
      .demandCommand(1, NO_COMMAND);
  }
  for (const command of COMMANDS) {
    parser = command === chosen ? parser.command(await command.load()) : parser.command(command.name, command.describe);
  }
  return parser;
}

/** yargs makes NaN of what is no number and '' of what is missing; neither is ever meant. */
function checkValues(argv: Readonly<Record<string, unknown>>): true {
  for (const [name, value] of Object.entries(argv)) {
    if (name === '_' || name === '$0') continue;
    if (isParts(value))
      checkValues(Object.fromEntries(Object.entries(value).map(([key, part]) => [`${name}.${key}`, part])));
    if ([value].flat().some(Number.isNaN)) throw usageError(`--${name} needs a number`);
    if (value === '' || (Array.isArray(value) && value.includes(''))) throw usageError(`--${name} needs a value`);
  }
  return true;
}

/** Of `--rekey-after.time` and its like yargs makes one object. */
function isParts(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What yargs hands to `fail`, in so far as its types don't say it. */
interface Usage {
  /** By option name. */
  getDescriptions(): Record<string, string | undefined>;
  /** The first of each is the command as it is declared: `qstunnel certs issue <name>` without the program's name. */
  getCommands(): readonly (readonly unknown[])[];
  /** The first of the first: what the command that was found calls its usage, with `$0` for the program's name. */
  getUsage(): readonly (readonly (string | undefined)[])[];
}

const NO_COMMAND = 'say what to do, as in "qstunnel demo"; "qstunnel --help" lists the commands';
const UNKNOWN = /^Unknown (?:argument|command)s?: (.*)$/;
const BAD_CHOICE = /Argument: (\S+), Given: (.*), Choices: (.*)$/;

function parsingFailure(message: string, args: readonly string[], usage: Usage): CliError {
  const unknown = UNKNOWN.exec(message);
  const bare = /^Not enough arguments following: (.*)$/.exec(message);
  const negative = unknown === null && bare === null ? undefined : negativeText(args, usage);
  if (negative !== undefined) return usageError(negative);
  if (unknown !== null) {
    // The camelCase twin of an option is not something that the user wrote.
    const words = (unknown[1] as string).split(', ');
    const written = words.filter((word) => !words.some((other) => other !== word && camelCase(other) === word));
    return usageError(written.map((word) => unknownText(word, args, usage)).join('; '));
  }
  const stray = args.find((arg) => arg.startsWith('-'));
  if (message === NO_COMMAND && stray !== undefined) return usageError(unknownText(optionName(stray), args, usage));
  if (message.startsWith('Not enough non-option arguments')) {
    const form = usage.getUsage()[0]?.[0]?.split('\n')[0]?.replace('$0', 'qstunnel');
    return usageError(`an argument is missing; ${form === undefined ? SEE_HELP : `write ${form}`}`);
  }
  if (bare !== null) return usageError(`--${bare[1]} needs a value`);
  const choice = BAD_CHOICE.exec(message);
  if (choice !== null) return usageError(`--${choice[1]} is ${choice[2]}, allowed: ${choice[3]?.replaceAll('"', '')}`);
  return usageError(message.charAt(0).toLowerCase() + message.slice(1).replace(/\s*\n\s*/g, ' '));
}

/** yargs takes `-1s` behind an option for the flags 1 and s. */
function negativeText(args: readonly string[], usage: Usage): string | undefined {
  const at = args.findIndex((arg, i) => /^-[\d.]/.test(arg) && args[i - 1]?.startsWith('--'));
  const option = optionName(args[at - 1] ?? '');
  const description = usage.getDescriptions()[option];
  return description && `--${option} can not be ${args[at]}; it is: ${description}`;
}

/** Says what to write instead of an argument that nobody knows. */
function unknownText(word: string, args: readonly string[], usage: Usage): string {
  if (args.some((arg) => arg.startsWith('-') && optionName(arg) === word)) {
    const option = nearest(word, Object.keys(usage.getDescriptions()));
    return `unknown option --${word}; ${option === undefined ? SEE_HELP : `did you mean --${option}?`}`;
  }
  const commands = usage.getCommands().map(
    ([command]) =>
      String(command)
        .replace(/ *[<[].*$/, '')
        .split(' ')
        .pop() ?? '',
  );
  const command = nearest(word, commands);
  return `unknown argument ${word}; ${command === undefined ? SEE_HELP : `did you mean ${command}?`}`;
}

const SEE_HELP = '"--help" lists what there is';

/** `name` of `--name` and `--name=value`. */
function optionName(arg: string): string {
  return arg.replace(/^-+|=.*$/gs, '');
}

function camelCase(word: string): string {
  return word.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

function usageError(message: string): CliError {
  return new CliError(CliErrorCode.usage, message);
}

/** Says what went wrong, a line for each problem: `qstunnel: CODE: message`. */
function report(error: unknown, args: readonly string[], output: CliOutput): ExitCode {
  const refuse = (problems: readonly string[]) => {
    const refusal = jsonRefusal(args, problems);
    if (refusal !== undefined) output.stdout(`${JSON.stringify(refusal)}\n`);
  };
  if (isConfigError(error)) {
    const problems = error.problems.map((problem) => ({ problem, text: oneLine(problemText(problem, error.file)) }));
    refuse(problems.map(({ text }) => text));
    for (const { problem, text } of problems) output.stderr(`qstunnel: ${problem.code}: ${text}\n`);
    return ExitCode.usage;
  }
  const code = errorCode(error) ?? CliErrorCode.internal;
  // A verdict was printed by the command itself.
  if (code !== CliErrorCode.verdict) refuse([oneLine(errorText(error))]);
  output.stderr(`qstunnel: ${code}: ${oneLine(errorText(error))}\n`);
  if (code === CliErrorCode.internal && error instanceof Error && error.stack !== undefined) {
    // Only a bug comes here, and its report needs the place.
    output.stderr(`${error.stack}\n`);
  }
  return exitCodeOf(code);
}

function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').slice(0, MAX_ERROR_LENGTH);
}

function ignore(): void {}

/**
 * Told of failed writes late, when a command is over, and so for as long as
 * the process lasts. A reader that went away, such as `head`, is no failure of ours.
 */
function outliveReaders(): void {
  if (!process.stdout.listeners('error').includes(stdoutFailed)) process.stdout.on('error', stdoutFailed);
  if (!process.stderr.listeners('error').includes(stderrFailed)) process.stderr.on('error', stderrFailed);
}

function stdoutFailed(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') return;
  process.stderr.write(`qstunnel: ${CliErrorCode.file}: stdout can not be written (${error.code})\n`);
  process.exitCode = ExitCode.failed;
}

/** There is no other place left to say it. */
function stderrFailed(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') process.exitCode = ExitCode.failed;
}
