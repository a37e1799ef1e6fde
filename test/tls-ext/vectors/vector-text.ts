/** The text of the test vectors, in the form that the draft's appendix A describes. */
import { hexOf } from '../../../tls-ext/bytes/index.ts';

/** What a value is: given, sent, or derived. */
export type ValueKind = 'input' | 'record' | 'message' | 'alert' | 'data' | 'channel' | 'hash' | 'secret';

export interface VectorValue {
  readonly kind: ValueKind;
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** One vector: a heading, what happens in it, and its values in order. */
export interface Vector {
  readonly name: string;
  readonly description: string;
  readonly values: readonly VectorValue[];
}

const DIGITS_PER_LINE = 64;

export function vectorText({ name, description, values }: Vector): string {
  return `## ${name}\n\n${description}\n\n~~~\n${values.map(valueText).join('')}~~~\n`;
}

function valueText({ kind, name, bytes }: VectorValue): string {
  const lines = hexOf(bytes).match(new RegExp(`.{1,${DIGITS_PER_LINE}}`, 'g')) ?? [];
  return `${[`${kind} ${name} (${bytes.length} octets):`, ...lines].join('\n')}\n`;
}
