/** What `qstunnel doctor kme` shows: a checklist that grows, and a verdict. */
import {
  type CheckTone,
  type DoctorCheck,
  type ExaminationObserver,
  type KmeExaminationOptions,
  type KmeVerdict,
  parseKmeUrl,
} from '../../kdi-client/index.ts';
import { type Colour, terminalOn, wrapped } from './terminal.ts';

const ID_COLUMNS = 21;
const MARKS: Readonly<Record<CheckTone, readonly [Colour, string]>> = {
  good: ['green', '✓'],
  note: ['yellow', '!'],
  bad: ['red', '✗'],
};
const API_NAMES = { etsi004: 'ETSI GS QKD 004', etsi014: 'ETSI GS QKD 014', skip: 'SKIP' } as const;

export interface KmeDoctorView extends ExaminationObserver {
  begin(url: string, options: KmeExaminationOptions): void;
  verdict(verdict: KmeVerdict): void;
  end(): void;
}

export function kmeDoctorView(stdout: NodeJS.WriteStream, json: boolean): KmeDoctorView {
  const terminal = terminalOn(stdout);
  const printJson = (value: unknown) => stdout.write(`${JSON.stringify(value)}\n`);
  const tones: CheckTone[] = [];
  const indent = ' '.repeat(ID_COLUMNS + 4);
  return {
    begin(url, { own, peer, peerSaeId }) {
      const api = apiName(url);
      if (json || api === undefined) return;
      terminal.print(`${terminal.paint('bold', url)} (${api}), as ${own.saeId} towards ${peerSaeId}`);
      if (peer !== undefined) terminal.print(`the other end: ${terminal.paint('bold', peer.url)}`);
      terminal.print('');
    },
    onWaiting(what) {
      if (!json) terminal.wait(what);
    },
    onCheck({ id, clause, detail, configHint }, tone) {
      tones.push(tone);
      if (json) return;
      const [colour, mark] = MARKS[tone];
      const [first = '', ...rest] = wrapped(detail, terminal.columns - indent.length);
      terminal.print(`  ${terminal.paint(colour, mark)} ${terminal.paint('bold', id.padEnd(ID_COLUMNS))}${first}`);
      for (const line of rest) terminal.print(indent + line);
      if (clause !== null && tone !== 'good') terminal.print(indent + terminal.paint('dim', clause));
      if (configHint !== null) terminal.print(`${indent}${terminal.paint('yellow', '→')} ${configHint}`);
    },
    verdict(verdict) {
      if (json) {
        printJson(verdict);
        return;
      }
      const count = (tone: CheckTone) => tones.filter((one) => one === tone).length;
      const passed = `${count('good') + count('note')} of ${tones.length} checks passed`;
      const notes = count('note') === 0 ? '' : `, ${count('note')} of them worth reading (!)`;
      terminal.print('');
      terminal.print(
        verdict.ok
          ? `${terminal.paint('green', 'Good:')} ${passed}${notes}. ${equalityText(verdict)}`
          : `${terminal.paint('red', 'Not good:')} ${passed}${notes}. ${equalityText(verdict)}`,
      );
      for (const line of hintLines(verdict.checks)) terminal.print(line);
    },
    end: () => terminal.end(),
  };
}

/** Undefined: no URL of a key manager, which is said in a moment, with what to write instead. It may hold a password. */
function apiName(url: string): string | undefined {
  try {
    return API_NAMES[parseKmeUrl(url).api];
  } catch {
    return undefined;
  }
}

function equalityText({ keysEqual }: KmeVerdict): string {
  switch (keysEqual) {
    case true:
      return 'Both ends have the same keys.';
    case false:
      return 'The two ends have DIFFERENT keys.';
    case null:
      return 'Whether the other end has the same keys was not asked (--peer).';
  }
}

/** The lines to write, those of this end and of the other one apart. */
function hintLines(checks: readonly DoctorCheck[]): string[] {
  const hints = (isPeer: boolean) => [
    ...new Set(
      checks.flatMap(({ id, configHint }) =>
        configHint === null || id.startsWith('peer-') !== isPeer ? [] : [configHint],
      ),
    ),
  ];
  const block = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : ['', title, '', ...lines.map((line) => `    ${line}`)];
  return [
    ...block('In the configuration of the service here:', hints(false)),
    ...block('In the configuration at the other end:', hints(true)),
  ];
}
