/** A negative value, which yargs takes for flags, is refused by the name of its option, with what to write. */
import { expect } from 'chai';
import { main } from '../../proxy/cli/main.ts';

const FILES = '--sae a --peer-sae b --cert a --key b --ca c';
const DOCTOR = `doctor kme etsi014://x ${FILES}`;
const KEYS = `--kme etsi014://x ${FILES}`;
/** Commands, and their options with a unit that are plain text to yargs. */
const COMMANDS: readonly (readonly [command: string, withUnit: readonly string[]])[] = [
  ['sim up', []],
  ['demo', []],
  ['certs init', []],
  ['certs issue a', []],
  [DOCTOR, ['min-key-age']],
  [`keys status ${KEYS}`, []],
  [`keys watch ${KEYS}`, ['every']],
];

async function run(args: readonly string[]): Promise<{ code: number; said: string }> {
  let said = '';
  const add = (text: string) => (said += text);
  return { code: await main(args, '1.2.3', { stdout: add, stderr: add }), said };
}

/** Options that take a value, with their types, as `--help` has them. */
async function optionsOf(command: string): Promise<readonly (readonly [option: string, type: string])[]> {
  const { said } = await run([...command.split(' '), '--help']);
  const options = said.split(/^ +(?:-\w, )?--(?=[a-z])/m).slice(1);
  return options
    .map((text) => [/^[\w.-]+/.exec(text)?.[0] ?? '', /\[(\w+)/.exec(text)?.[1] ?? ''] as const)
    .filter(([, type]) => type !== 'boolean');
}

/** One problem, a line: of this option, and with more than its name. */
async function expectNamed(command: string, option: string, value: string): Promise<void> {
  const { code, said } = await run([...command.split(' '), `--${option}`, value]);
  expect(code, said).to.equal(2);
  expect(said).not.to.match(/unknown (?:argument|option)/);
  const [line] = said.split('\n').filter((one) => one.includes(`--${option} `) || one.includes(`--${option}: `));
  expect(line, `${command} --${option} ${value}: ${said}`).to.match(/ (?:is|be|needs|must|can not) /);
}

describe('proxy cli: negative values', () => {
  for (const [command, withUnit] of COMMANDS) {
    it(`of numbers and durations of ${command.replace(/ --.*/, '')}`, async () => {
      const numbers = (await optionsOf(command)).filter(([, type]) => type === 'number').map(([option]) => option);
      for (const option of [...numbers, ...withUnit]) {
        for (const value of ['-1', '-1s', '-5MiB', '-.5x']) await expectNamed(command, option, value);
      }
    });
  }

  for (const mode of ['server', 'client']) {
    it(`of any option of ${mode}`, async () => {
      const options = await optionsOf(mode);
      expect(options.map(([option]) => option)).to.include.members(['drain-timeout', 'rekey-after.bytes', 'max-hops']);
      for (const [option, type] of options) {
        // A name or file may begin like this.
        const takesText = [
          'accept',
          'connect',
          'name',
          'cert',
          'key',
          'ca',
          'sae',
          'ledger',
          'sae-uri',
          'verify-host',
        ].includes(option);
        if (takesText || option.startsWith('kme') || option === 'peer-sae') continue;
        await expectNamed(mode, option, '-1s');
        if (type !== 'array') await expectNamed(mode, option, '-5MiB');
      }
    });
  }
});
