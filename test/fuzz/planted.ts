/** Targets with a bug each, that the fuzzer must find: `npm run fuzz -- --targets test/fuzz/planted.ts`. */
import { DecodeError } from '../../tls-ext/bytes/index.ts';
import type { Target } from './target.ts';

const kept: Uint8Array[] = [];

export const targets: readonly Target[] = [
  {
    /** Reads a vector of one length byte and believes the length, when the first byte is right. */
    name: 'out-of-bounds',
    seeds: () => [Uint8Array.of(1, 2, 0, 0)],
    run: (input) => {
      if (input[0] === 1 && (input[1] as number) > input.length + 100) throw new RangeError('out of bounds');
      return undefined;
    },
  },
  {
    /** Three bytes, one after the other: only whoever keeps what got further gets there. */
    name: 'behind-outcomes',
    seeds: () => [new Uint8Array(8)],
    run: (input) => {
      if (input[2] !== 0x71) return 'first';
      if (input[4] !== 0xb2) return 'second';
      if (input[6] !== 0xc3) return 'third';
      throw new Error('reached');
    },
  },
  {
    name: 'endless',
    seeds: () => [Uint8Array.of(7, 7)],
    run: (input) => {
      for (let at = 0; at < input.length && input.length > 2; ) at += (input[0] as number) % 2;
      return undefined;
    },
  },
  {
    name: 'never-answers',
    seeds: () => [Uint8Array.of(7, 7)],
    run: (input) => (input.length > 2 ? new Promise<undefined>(() => {}) : undefined),
  },
  {
    /** Allocates what a length field promises. */
    name: 'promised-length',
    seeds: () => [Uint8Array.of(0, 0, 0, 5, 1, 2, 3, 4, 5)],
    run: (input) => {
      const promised = (((input[0] ?? 0) & 0x1f) << 24) | ((input[1] ?? 0) << 16);
      if (new Uint8Array(promised).fill(1).length > input.length) return 'truncated';
      return 'read';
    },
  },
  {
    name: 'heap',
    seeds: () => [Uint8Array.of(7, 7)],
    run: (input) => {
      const all: object[] = [];
      for (let i = 0; input.length > 2; i++) all.push({ i });
      return undefined;
    },
  },
  {
    name: 'keeps-everything',
    seeds: () => [new Uint8Array(4)],
    run: (input) => {
      kept.push(new Uint8Array(100_000).fill(input[0] ?? 1));
      return undefined;
    },
  },
  {
    name: 'sound',
    seeds: () => [Uint8Array.of(1, 2)],
    run: (input) => {
      try {
        if (input[0] !== 1) throw new DecodeError('another version');
      } catch (error) {
        return (error as Error).message;
      }
      return 'decoded';
    },
  },
];
