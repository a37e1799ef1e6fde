/**
 * Inputs of targets with a state: little programs. An operation is a kind, an argument, and a payload whose length
 * stands before it; any bytes are some program, since lengths are cut to what is there.
 */
import { concatBytes } from '../../tls-ext/bytes/index.ts';
import { mutate } from './mutate.ts';
import { pick, type Random } from './random.ts';

export interface Operation {
  readonly kind: number;
  readonly argument: number;
  readonly payload: Uint8Array;
}

export const MAX_OPERATIONS = 48;
const HEADER_BYTES = 4;

export function operation(kind: number, argument: number, ...payload: readonly number[]): Operation {
  return { kind, argument, payload: Uint8Array.from(payload) };
}

export function encodeProgram(operations: readonly Operation[]): Uint8Array {
  return concatBytes(
    ...operations.map(({ kind, argument, payload }) =>
      concatBytes(Uint8Array.of(kind, argument, payload.length >> 8, payload.length), payload),
    ),
  );
}

export function decodeProgram(bytes: Uint8Array): Operation[] {
  const operations: Operation[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length && operations.length < MAX_OPERATIONS; ) {
    const [kind = 0, argument = 0, high = 0, low = 0] = bytes.subarray(at, at + HEADER_BYTES);
    const payload = bytes.subarray(at + HEADER_BYTES, at + HEADER_BYTES + (high << 8) + low);
    operations.push({ kind, argument, payload });
    at += HEADER_BYTES + payload.length;
  }
  return operations;
}

export interface Grammar {
  readonly kinds: number;
  readonly arguments: number;
  readonly dictionary?: readonly Uint8Array[];
}

/** Adds, removes, repeats, moves, crosses and changes operations. */
export function mutateProgram({ kinds, arguments: args, dictionary }: Grammar) {
  return (input: Uint8Array, random: Random, other: Uint8Array): Uint8Array => {
    const operations = decodeProgram(input);
    const others = decodeProgram(other);
    for (let left = 1 + random(3); left > 0; left--) {
      const at = random(operations.length + 1);
      const present = operations[at];
      switch (random(7)) {
        case 0:
          operations.splice(at, 0, { kind: random(kinds), argument: random(args), payload: randomBytes(random) });
          break;
        case 1:
          operations.splice(at, 1);
          break;
        case 2:
          if (present !== undefined) operations.splice(random(operations.length + 1), 0, present);
          break;
        case 3: {
          const from = random(others.length + 1);
          operations.splice(at, 0, ...others.slice(from, from + 1 + random(4)));
          break;
        }
        case 4:
          if (present !== undefined) operations[at] = { ...present, argument: random(args) };
          break;
        case 5:
          if (present !== undefined) operations[at] = { ...present, kind: random(kinds) };
          break;
        default: {
          if (present === undefined) break;
          const donor = others.length > 0 ? pick(random, others).payload : present.payload;
          const payload = mutate(present.payload, random, donor, dictionary).subarray(0, 0xffff);
          operations[at] = { ...present, payload };
        }
      }
    }
    return encodeProgram(operations.slice(0, MAX_OPERATIONS));
  };
}

function randomBytes(random: Random): Uint8Array {
  return Uint8Array.from({ length: random(24) }, () => random(256));
}
