/** Survivors of the key channel, with their reasons. */
import type { Explained } from './explained.ts';

const answerer: readonly Explained[] = [
  {
    file: 'tls-ext/key-channel/answerer.ts',
    line: 'if (goneMs >= 1000 * MAX_KEY_TTL_SECONDS && instance.keys.size === 0) this.#instances.delete(instance.id);',
    replacement: 'true',
    why: 'of the second half: no key outlives the last connection by more than its longest TTL, and expired ones have just gone',
  },
  {
    file: 'tls-ext/key-channel/answerer.ts',
    line: '...(stream === undefined ? {} : { stream }),',
    replacement: 'false',
    why: 'for the compiler: a stream that is `undefined` is absent as well',
  },
  {
    file: 'tls-ext/key-channel/answerer.ts',
    line: 'if (key.stream === undefined) key.instance.endedKeys.add(key.id);',
    replacement: 'true',
    why: 'of a key with a stream nobody asks there: the condition saves memory',
  },
];

const drawer: readonly Explained[] = [
  {
    file: 'tls-ext/key-channel/drawer.ts',
    line: "this.#onHello({ type: 'hello', ...peer }, nowMs);",
    replacement: '""',
    why: 'for the compiler: the type of a message that is a hello is not looked at again',
  },
  {
    file: 'tls-ext/key-channel/drawer.ts',
    line: "case 'pending':",
    replacement: '""',
    why: 'a result that stands in no case has no effect either',
  },
  ...[
    ['tls-ext/key-channel/drawer.ts', "heard: 'nothing',"],
    ['tls-ext/key-channel/drawer-outbox.ts', "key.heard = 'nothing';"],
  ].map(([file = '', line = '']) => ({
    file,
    line,
    why: 'the two other states are asked for, and this is neither',
  })),
];

export const keyChannel: readonly Explained[] = [...answerer, ...drawer];
