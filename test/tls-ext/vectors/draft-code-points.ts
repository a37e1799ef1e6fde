/** Reads what the draft states in its presentation language: enums and constants of structures. */
import { readFile } from 'node:fs/promises';

const draft = new URL('../../../tls-ext/draft-qstunnel-tls-qkd-psk.md', import.meta.url);

export interface DraftText {
  readonly text: string;
  /** Names and code points of each enum, without the one in parentheses that sets its size. */
  readonly enums: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** `bits` of an enum's wire form: from its largest value. */
  readonly enumSizes: ReadonlyMap<string, number>;
}

export async function readDraft(): Promise<DraftText> {
  const text = await readFile(draft, 'utf8');
  const enums = new Map<string, ReadonlyMap<string, number>>();
  const enumSizes = new Map<string, number>();
  for (const [, body = '', name = ''] of text.matchAll(/enum \{([^}]*)\} (\w+);/g)) {
    const members = [...body.matchAll(/(\w+)\((0x[0-9A-Fa-f]+|\d+)\)/g)];
    enums.set(name, new Map(members.map(([, member = '', code]) => [member, Number(code)])));
    enumSizes.set(name, Number(/[\s,]\((\d+)\)/.exec(body)?.[1]));
  }
  return { text, enums, enumSizes };
}
