/** Both ends of the key channel, with keys announced and streams open: a peer that says anything, and callers that act in between. */
import { bytesEqual, type SecretBytes } from '../../../tls-ext/bytes/index.ts';
import type { QkdKeyReference } from '../../../tls-ext/engine-types.ts';
import {
  type AnswererEvent,
  type DrawerEvent,
  type KeyChannelError,
  KeyChannelErrorCode,
  KeyChannelMisuseError,
  MessageFramer,
  referenceId,
} from '../../../tls-ext/key-channel/index.ts';
import { keyOf, ksidOf, newAnswerer, newDrawer, qos } from '../../tls-ext/key-channel/fixtures.ts';
import { decodeProgram, encodeProgram, mutateProgram, type Operation, operation } from '../program.ts';
import type { Outcome, Target } from '../target.ts';
import { bytesSaid, Do, KINDS, referenceOf, right, Say, wrong } from './key-channel-sayings.ts';

type EndEvent = AnswererEvent | DrawerEvent;

/** What must hold of every list of events: once used is used, and whoever is failed is told. */
class Judge {
  readonly #once = new Set<string>();
  outcome: Outcome = 'quiet';

  /** At most once for each reference, until the peer's process is another one. */
  take(events: readonly EndEvent[]): void {
    for (const [i, event] of events.entries()) {
      if (event.type === 'key-offerable' || event.type === 'key-accepted') {
        const id = referenceId(event.reference);
        if (this.#once.has(id)) throw new Error(`${event.type} twice`);
        this.#once.add(id);
      }
      if (event.type === 'failed') this.#expectAbort(events.slice(0, i), event.error);
      if (event.type !== 'write') this.outcome = outcomeOf(event);
    }
  }

  #expectAbort(before: readonly EndEvent[], error: KeyChannelError): void {
    // An abort is not answered, and who never says hello is not told.
    if (error.code === KeyChannelErrorCode.peerAbort || error.code === KeyChannelErrorCode.timeout) return;
    const last = before.filter((event) => event.type === 'write').at(-1);
    const [message] = last === undefined ? [] : [...new MessageFramer().push(last.bytes)];
    if (message?.type !== 'abort') throw new Error(`no abort for: ${error.message}`);
  }
}

function outcomeOf(event: EndEvent): string {
  const reason = 'reason' in event ? ` ${event.reason}` : '';
  return `${event.type}${reason}${event.type === 'failed' ? ` ${event.error.message}` : ''}`;
}

function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    // The program, not the peer, did what a caller must not.
    if (!(error instanceof KeyChannelMisuseError)) throw error;
  }
}

function runAnswerer(operations: readonly Operation[]): Outcome {
  const answerer = newAnswerer();
  const judge = new Judge();
  let connection = 1;
  let batch = 0;
  let nowMs = 0;
  const accepted: { readonly reference: QkdKeyReference; readonly secret: SecretBytes }[] = [];
  const take = (events: readonly AnswererEvent[]) => {
    judge.take(events);
    for (const event of events) if (event.type === 'key-accepted') accepted.push(event);
  };
  const provide = (reference: QkdKeyReference, fill: number) => {
    const secret = keyOf(fill);
    take(answerer.provideKey(reference, secret));
    const passedOn = accepted.some((one) => one.secret === secret);
    if (passedOn === isWiped(secret)) throw new Error(passedOn ? 'an accepted key was wiped' : 'a key was not wiped');
    if (passedOn && fill === wrong && !wrongIsRight.has(referenceId(reference)))
      throw new Error('another key was accepted');
  };
  // References whose announcement carried the check value of the other key.
  const wrongIsRight = new Set<string>();
  take(answerer.connected(connection, []));
  for (const one of operations) {
    const { kind, argument } = one;
    const reference = referenceOf(argument);
    const said = bytesSaid(one, batch);
    guarded(() => {
      if (said !== undefined) {
        if (kind === Say.keys) batch++;
        if (kind === Say.keys && argument % 8 === 7) {
          const codes = one.payload.length > 0 ? [...one.payload] : [argument];
          for (const code of codes) wrongIsRight.add(referenceId(referenceOf(code)));
        }
        take(answerer.receive(connection, said, nowMs));
        return;
      }
      switch (kind) {
        case Do.tick:
          nowMs += 1 + argument * 1_000;
          take(answerer.tick(nowMs));
          return;
        case Do.reconnect:
          answerer.disconnected(connection, nowMs);
          batch = 0;
          take(answerer.connected(++connection, []));
          return;
        case Do.secondConnection:
          batch = 0;
          take(answerer.connected(++connection, []));
          return;
        case Do.setState:
          take(answerer.setState({ kmeReachable: true, kmeName: 'n', poolKeys: argument, reasons: [] }));
          return;
        case Do.stream:
          take(answerer.streamOpened(ksidOf(1 + (argument % 3)), 32));
          return;
        case Do.streamFailed:
          take(answerer.streamFailed(ksidOf(1 + (argument % 3)), 'lost', argument > 127));
          return;
        case Do.key:
          provide(reference, right);
          return;
        case Do.wrongKey:
          provide(reference, wrong);
          return;
        case Do.pending:
          take(answerer.reportPending(reference));
          return;
        case Do.notFound:
          take(answerer.reportNotFound(reference));
          return;
        case Do.ended:
          answerer.keyEnded(reference);
          return;
        default:
      }
    });
  }
  return judge.outcome;
}

function runDrawer(operations: readonly Operation[]): Outcome {
  const drawer = newDrawer();
  const judge = new Judge();
  const drawn = new Set<string>();
  let nowMs = 0;
  let connected = true;
  const take = (events: readonly DrawerEvent[]) => {
    judge.take(events);
    if (events.some(({ type }) => type === 'failed')) connected = false;
  };
  take(drawer.connected());
  for (const one of operations) {
    const { kind, argument, payload } = one;
    const said = bytesSaid(one, 0);
    guarded(() => {
      if (said !== undefined) {
        take(drawer.receive(said, nowMs));
        return;
      }
      const ksid = ksidOf(1 + (argument % 3));
      switch (kind) {
        case Do.tick:
          nowMs += 1 + argument * 1_000;
          take(drawer.tick(nowMs));
          return;
        case Do.reconnect:
        case Do.secondConnection:
          if (connected) drawer.disconnected();
          connected = true;
          take(drawer.connected());
          return;
        case Do.setState:
          take(drawer.setState({ kmeReachable: true, kmeName: 'n', poolKeys: argument, reasons: [] }));
          return;
        case Do.stream:
          take(drawer.openStream(ksid, qos));
          return;
        case Do.streamFailed:
          take(argument > 127 ? drawer.endStream(ksid) : drawer.abandonStream(ksid));
          return;
        case Do.key: {
          const codes = payload.length > 0 ? [...payload.subarray(0, drawer.announceRoom())] : [argument];
          const keys = codes
            .map((code) => ({ reference: referenceOf(code), secret: keyOf(right) }))
            // A key manager gives out a key once.
            .filter(({ reference }) => drawn.size < drawn.add(referenceId(reference)).size);
          take(drawer.announce(keys, 1_000 * (10 + argument), nowMs));
          return;
        }
        case Do.ended:
          take(drawer.keyUsed(referenceOf(argument)));
          return;
        case Do.dropped:
          take(drawer.keyDropped(referenceOf(argument)));
          return;
        default:
      }
    });
  }
  return judge.outcome;
}

function isWiped(secret: SecretBytes): boolean {
  try {
    return bytesEqual(secret.expose(), new Uint8Array(secret.length));
  } catch {
    return true;
  }
}

const hello = operation(Say.hello, 0xd1, 100);
const all = (...codes: readonly number[]) => codes;

const answererSeeds: readonly (readonly Operation[])[] = [
  [
    hello,
    operation(Say.state, 0),
    operation(Say.stream, 0),
    operation(Do.stream, 0),
    operation(Say.keys, 1, ...all(0, 1, 2, 3)),
    ...all(0, 1, 2, 3).map((code) => operation(Do.key, code)),
    operation(Say.dropped, 0, 0),
    operation(Do.ended, 1),
    operation(Do.reconnect, 0),
    hello,
    operation(Say.stream, 0),
    operation(Say.keys, 1, ...all(2, 3, 4)),
    operation(Do.tick, 255),
    operation(Say.close, 0),
  ],
  [
    hello,
    operation(Say.keys, 1, ...all(0x30, 0x31, 0x51)),
    operation(Do.pending, 0x30),
    operation(Do.notFound, 0x31),
    operation(Do.key, 0x30),
    operation(Do.wrongKey, 0x51),
    operation(Do.secondConnection, 0),
    operation(Say.hello, 0xd2, 50),
    operation(Say.keys, 1, ...all(0x30, 0x32)),
    operation(Do.setState, 3),
    operation(Say.dropped, 1, 0x32),
  ],
  [
    hello,
    operation(Say.stream, 1),
    operation(Do.streamFailed, 129),
    operation(Do.stream, 1),
    operation(Say.keys, 7, 0x20),
    operation(Do.key, 0x20),
    operation(Say.close, 129),
  ],
  [operation(Say.keys, 0, 1)],
  [hello, hello],
  [hello, operation(Do.altered, 3, 9, 2, 0, 0), operation(Do.any, 5)],
  [hello, operation(Do.raw, 0, 200, 0, 0, 0)],
];

const drawerSeeds: readonly (readonly Operation[])[] = [
  [
    operation(Say.hello, 0xa1, 100),
    operation(Say.state, 0),
    operation(Do.stream, 0),
    operation(Say.opened, 0, 32),
    operation(Do.key, 9, ...all(0, 1, 2)),
    operation(Say.results, 0, 0),
    operation(Say.results, 1, 1, 4),
    operation(Do.ended, 0),
    operation(Do.dropped, 2),
    operation(Do.reconnect, 0),
    operation(Say.hello, 0xa1, 100),
    operation(Do.tick, 5),
    operation(Do.streamFailed, 200),
  ],
  [
    operation(Say.hello, 0xa1, 9),
    operation(Do.key, 90, 0x30),
    operation(Say.results, 0x30, 0),
    operation(Do.key, 90, 0x31),
    operation(Say.results, 0x31, 201),
    operation(Do.tick, 9),
    operation(Do.key, 90, 0x32),
    operation(Say.results, 2, 3),
    operation(Do.reconnect, 0),
    operation(Say.hello, 0xa2, 9),
    operation(Do.setState, 1),
  ],
  [operation(Say.hello, 0xa1, 9), operation(Do.stream, 1), operation(Say.failed, 129), operation(Say.failed, 1)],
  [operation(Say.results, 0, 0)],
  [operation(Say.hello, 0xa1, 9), operation(Do.any, 60)],
];

export const keyChannelTargets: readonly Target[] = [
  {
    name: 'key-channel-answerer',
    covers: ['KeyChannelAnswerer'],
    seeds: () => answererSeeds.map(encodeProgram),
    mutate: mutateProgram({ kinds: KINDS, arguments: 256 }),
    weight: 4,
    run: (input) => runAnswerer(decodeProgram(input)),
  },
  {
    name: 'key-channel-drawer',
    covers: ['KeyChannelDrawer'],
    seeds: () => drawerSeeds.map(encodeProgram),
    mutate: mutateProgram({ kinds: KINDS, arguments: 256 }),
    weight: 4,
    run: (input) => runDrawer(decodeProgram(input)),
  },
];
