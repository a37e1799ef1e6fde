/** Both TLS state machines, behind the keys: against a peer that can say anything under them, at any time. */
import { concatBytes, hexOf } from '../../../tls-ext/bytes/index.ts';
import { defaultCodePoints, ExtensionType, encodeNewSessionTicket } from '../../../tls-ext/messages/index.ts';
import { type Answers, type Side, type TestIdentity, testIdentity } from '../../tls-ext/engine/engine-pair.ts';
import { rekeyKey } from '../../tls-ext/engine/rekey-pair.ts';
import { clientScript, engineFor, type Scenario, serverScript } from '../../tls-ext/misbehaving/handshakes.ts';
import { type Role, ScriptedPeer } from '../../tls-ext/misbehaving/scripted-peer.ts';
import { runStep, type Step } from '../../tls-ext/misbehaving/scripts.ts';
import { decodeProgram, encodeProgram, MAX_OPERATIONS, mutateProgram, type Operation, operation } from '../program.ts';
import type { Outcome, Target } from '../target.ts';
import { cheapKeyAgreements } from './cheap-key-agreements.ts';
import { Act, actOfEngine, actOfPeer, closedWrites, Edit, edited, KINDS, type Owner } from './engine-program.ts';
import { tlsDictionary } from './messages.ts';
import { FIRST_DIFFERENT_KEY, FIRST_MISSING_KEY, ownersKey, RekeyingPeer } from './rekeying-peer.ts';

/** What an engine may say to one peer in all, whatever that peer does with a bounded number of operations. */
const MAX_WRITTEN_BYTES = 4 * 2 ** 20;
const MAX_STEPS = 1_000;
const MAX_KNOWN_SIGNATURES = 1_000;

/** Ed25519: cheap, and the same signature for the same transcript, so that each is made once. */
function identity(): TestIdentity {
  const real = testIdentity('ed25519');
  const signatures = new Map<string, Uint8Array>();
  return {
    ...real,
    sign: (scheme, content) => {
      const key = hexOf(content.subarray(64));
      const known = signatures.get(key);
      if (known !== undefined) return known;
      const signature = real.sign(scheme, content);
      if (signatures.size < MAX_KNOWN_SIGNATURES) signatures.set(key, signature);
      return signature;
    },
  };
}

const identities = { client: identity(), server: identity() };

const fixed = {
  random: (length: number) => Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 0xff),
  keyAgreements: cheapKeyAgreements,
};

export const scenarios: Readonly<Record<string, Scenario>> = {
  certificates: { mutual: true },
  retry: { retry: true },
  psk: { psk: 'beside-certificates', mutual: true },
  'psk-alone': { psk: 'alone' },
  fallback: { psk: 'unavailable' },
  rekey: { psk: 'beside-certificates', rekey: 'with-key' },
  'rekey-refused': { psk: 'beside-certificates', rekey: 'unavailable' },
  ticket: { psk: 'ticket', rekey: 'without-key' },
  'ticket-unknown': { psk: 'ticket-unavailable' },
};

const withCookie: Scenario = { retry: true, server: { cookieKey: new Uint8Array(32).fill(3) } };

function prepared(scenario: Scenario): Scenario {
  return {
    ...scenario,
    keyAgreements: cheapKeyAgreements,
    identities,
    client: { ...fixed, ...scenario.client },
    server: { ...fixed, ...scenario.server },
  };
}

/** Runs one engine against an edited script, then the acts. */
export function runEngine(
  role: Role,
  scenario: Scenario,
  operations: readonly Operation[],
  look: (side: Side) => void = () => {},
): Outcome {
  const owner: Owner = { lateKey: undefined };
  /** The script's own rekey is refused in that scenario, whatever its key. */
  let refuses = scenario.rekey === 'unavailable';
  const answers: Answers = {
    rekeyKey: ({ reference }) => {
      if (refuses) {
        refuses = false;
        return undefined;
      }
      const index = reference.api === 'etsi004' ? reference.index : 0;
      const key = ownersKey(index);
      if (key === 'later') owner.lateKey = index;
      return key;
    },
    rekeyWanted: () => {
      if (!side.engine.rekeyPossible) return 'no';
      return scenario.rekey === 'without-key'
        ? undefined
        : rekeyKey(scenario.rekey === 'unavailable' ? FIRST_MISSING_KEY : 1);
    },
  };
  const all = { ...prepared(scenario), answers };
  const side: Side = engineFor(role, all);
  const peer = new ScriptedPeer(role === 'client' ? 'server' : 'client');
  const script = edited(role === 'client' ? serverScript(all) : clientScript(all), operations);
  const acts = operations.filter(({ kind }) => kind > Edit.swap && kind < KINDS);
  const pieceBytes = acts.find(({ kind }) => kind === Act.pieces)?.argument;
  side.take(side.engine.start());
  let at = 0;
  let lost = false;
  const exchange = () => {
    for (const bytes of side.outbox.splice(0)) peer.deliver(bytes);
    for (const bytes of peer.outbox.splice(0)) {
      const step = pieceBytes === undefined ? bytes.length : 1 + pieceBytes * 4;
      for (let from = 0; from < bytes.length; from += step)
        side.take(side.engine.receive(bytes.subarray(from, from + step)));
    }
  };
  for (let steps = 0; steps < MAX_STEPS && !lost; steps++) {
    exchange();
    const step = script[at];
    if (step === undefined) break;
    const ran = attempt(step, peer);
    if (ran === 'waits' && side.outbox.length === 0 && peer.outbox.length === 0) break;
    if (ran === 'done') at++;
    lost = ran === 'lost';
  }
  const complete = at === script.length;
  peer.recording = false;
  let rekeying: RekeyingPeer | undefined;
  const rekeyingPeer = () => {
    rekeying ??= new RekeyingPeer(peer, scenario.rekey === 'unavailable' ? 0 : 1);
    return rekeying;
  };
  for (const one of acts) {
    actOfEngine(one, role, side, owner);
    attempt({ kind: 'act', name: 'act', act: () => actOfPeer(one, peer, rekeyingPeer) }, peer);
    exchange();
    if (complete && scenario.rekey) {
      attempt({ kind: 'act', name: 'listen', act: () => rekeyingPeer().listen() }, peer);
      exchange();
    }
  }
  while (side.outbox.length > 0 || peer.outbox.length > 0) exchange();
  peer.drain();
  look(side);
  judge(role, all, side, peer);
  return side.error?.message ?? (side.summary === undefined ? 'waits' : complete ? 'complete' : 'open');
}

/** A step of the peer. What it can't do any more, after edits of its script or an answer that it did not expect, ends it. */
function attempt(step: Step, peer: ScriptedPeer): 'done' | 'waits' | 'lost' {
  try {
    return runStep(step, peer) ? 'done' : 'waits';
  } catch {
    return 'lost';
  }
}

function judge(role: Role, { psk, mutual }: Scenario, side: Side, peer: ScriptedPeer): void {
  const { error, summary } = side;
  if (error?.code === 'ERR_TLS_INTERNAL') throw error.cause ?? error;
  const tells = error !== undefined && error.code !== 'ERR_TLS_PEER_ALERT' && error.code !== 'ERR_TLS_TRUNCATED';
  if (tells && !closedWrites.has(side) && peer.unreadable === 0 && peer.alert !== error.alert) {
    throw new Error(`alert ${peer.alert} instead of ${error.alert} for: ${error.message}`, { cause: error });
  }
  const written = side.events.reduce((sum, event) => sum + (event.type === 'write' ? event.bytes.length : 0), 0);
  if (written > MAX_WRITTEN_BYTES) throw new Error(`${written} bytes were written`);
  if (summary === undefined) return;
  const certificate = side.event('peer-certificate') !== undefined;
  expectEpochs(side);
  if (psk !== 'alone' && psk !== 'ticket' && (role === 'client' || mutual) && !certificate) {
    throw new Error('complete without the certificate that was to be there');
  }
  if (psk === 'alone' && summary.psk !== 'qkd') throw new Error('complete without the PSK that alone authenticates');
}

/** One after the other; and none by a key that only one end has. */
function expectEpochs({ events }: Side): void {
  let last = 0;
  for (const event of events) {
    if (event.type !== 'rekeyed') continue;
    if (event.epoch !== ++last) throw new Error(`epoch ${event.epoch} instead of ${last}`);
    const { reference, status } = event;
    if ((status === 'used') !== (reference !== undefined)) throw new Error(`${status} and its reference disagree`);
    if (reference?.api === 'etsi004' && reference.index >= FIRST_DIFFERENT_KEY) {
      throw new Error('rekeyed with a key that the peer does not have');
    }
  }
}

const afterwards: readonly Operation[] = [
  operation(Act.send, 0, 1, 2, 3),
  operation(Act.record, 23, 4, 5, 6),
  operation(Act.keyUpdate, 1),
  operation(Act.record, 23, 7),
  operation(Act.send, 0, 8),
  operation(Act.exporter, 31, 9),
  operation(Act.record, 21, 1, 0),
  operation(Act.closeWrite, 0),
];

const ticket: Operation = {
  kind: Act.message,
  argument: 0,
  payload: concatBytes(
    Uint8Array.of(4),
    encodeNewSessionTicket({
      ticketLifetimeSeconds: 60,
      ticketAgeAdd: 1,
      ticketNonce: Uint8Array.of(1),
      ticket: Uint8Array.of(2, 3),
      extensions: {},
    }).subarray(4),
  ),
};

/** Rekeys of either end, with right, wrong, missing and late keys and without one. */
const rekeys: readonly (readonly Operation[])[] = [
  [0, 1, 33, 49, 65].flatMap((key) => [
    operation(Act.request, key),
    operation(Act.rekey, key),
    operation(Act.send, 0, 1),
    operation(Act.record, 23, 2),
    operation(Act.lateKey, 0),
    operation(Act.want, 0),
    operation(Act.wanted, 0),
    operation(Act.ticket, key),
  ]),
  [operation(Act.change, 0, 0, 4, 1), operation(Act.request, 1), operation(Act.rekey, 1), operation(Act.rekey, 0)],
  [operation(Act.request, 49), operation(Act.rekey, 49), operation(Act.closeWrite, 0), operation(Act.lateKey, 0)],
  [operation(Act.want, 0), operation(Act.request, 2), operation(Act.record, 21, 1, 0), operation(Act.send, 0, 1)],
  Array.from({ length: 20 }, () => [operation(Act.request, 0), operation(Act.rekey, 0)]).flat(),
];

/** Each edit at each message, and what comes after a handshake. */
function seedPrograms(): Operation[][] {
  const extensionTypes = [...Object.values(ExtensionType), defaultCodePoints.qkdPsk ?? 0];
  const edits = [0, 1, 2, 3, 4, 5].flatMap((at) => [
    operation(Edit.xor, at, 0, 7, 1, 0, 40, 255),
    operation(Edit.xor, at | 0x80, 0, 60, 1),
    operation(Edit.splice, at, 0, 44, 0, 0, 0),
    operation(Edit.drop, at),
    operation(Edit.repeat, at),
    operation(Edit.body, at, 1),
    operation(Edit.message, at, 24, 0),
    operation(Edit.record, at, 23, 1),
    operation(Edit.inner, at, 22, 0, 0),
    operation(Edit.plaintext, at, 20, 1),
    operation(Edit.pieces, at, 1, 2, 3),
    operation(Edit.raw, at, 22, 3, 3, 0, 0),
    operation(Edit.coalesce, at, 1, 0),
    operation(Edit.swap, at),
  ]);
  const extensions = extensionTypes.flatMap((type) => [
    operation(Edit.setExtension, 0, type >> 8, type & 0xff),
    operation(Edit.removeExtension, 0, type >> 8, type & 0xff),
    operation(Edit.repeatExtension, 0, type >> 8, type & 0xff),
    operation(Edit.setExtension, 1, type >> 8, type & 0xff, 0, 0),
  ]);
  return [
    [],
    [...afterwards],
    [ticket, operation(Act.keyUpdate, 0), operation(Act.receiveEnd, 0)],
    [operation(Act.pieces, 1), ...afterwards],
    Array.from({ length: MAX_OPERATIONS }, (_, i) => operation(Act.keyUpdate, i)),
    ...rekeys.map((one) => [...one]),
    ...[...edits, ...extensions].map((one) => [one]),
  ];
}

function engineTarget(role: Role, name: string, scenario: Scenario): Target {
  return {
    name: `${role}-engine-${name}`,
    seeds: () => seedPrograms().map(encodeProgram),
    mutate: mutateProgram({ kinds: KINDS, arguments: 256, dictionary: tlsDictionary }),
    dictionary: tlsDictionary,
    weight: 4,
    run: (input) => runEngine(role, scenario, decodeProgram(input)),
  };
}

/** What the other end would say, recorded: as random, keys and shares are fixed, it is the right answer again. */
function recording(role: Role, scenario: Scenario): Uint8Array {
  const all = prepared(scenario);
  const side = engineFor(role, all);
  const peer = new ScriptedPeer(role === 'client' ? 'server' : 'client');
  const script = role === 'client' ? serverScript(all) : clientScript(all);
  const said: Uint8Array[] = [];
  side.take(side.engine.start());
  for (let at = 0; at < script.length; ) {
    for (const bytes of side.outbox.splice(0)) peer.deliver(bytes);
    if (!runStep(script[at] as Step, peer)) throw new Error('the recorded handshake stands still');
    at++;
    for (const bytes of peer.outbox.splice(0)) {
      said.push(bytes);
      side.take(side.engine.receive(bytes));
    }
  }
  return concatBytes(...said);
}

/** An engine that is given just bytes. */
function bytesTarget(role: Role): Target {
  return {
    name: `${role}-engine-bytes`,
    seeds: () => Object.values(scenarios).map((scenario) => recording(role, scenario)),
    dictionary: tlsDictionary,
    weight: 2,
    run: (input) => {
      const scenario = prepared(scenarios.certificates as Scenario);
      const side = engineFor(role, scenario);
      const peer = new ScriptedPeer(role === 'client' ? 'server' : 'client');
      side.take(side.engine.start());
      side.take(side.engine.receive(input));
      side.take(side.engine.receiveEnd());
      if (side.error?.code === 'ERR_TLS_INTERNAL') throw side.error.cause ?? side.error;
      if (side.error === undefined && side.event('closed') === undefined) throw new Error('an end without an error');
      judge(role, { psk: 'unavailable' }, Object.assign(side, {}), Object.assign(peer, { unreadable: 1 }));
      return side.error?.message ?? 'closed';
    },
  };
}

export const engineTargets: readonly Target[] = [
  ...Object.entries({ ...scenarios, cookie: withCookie }).flatMap(([name, scenario]) => [
    engineTarget('client', name, scenario),
    engineTarget('server', name, scenario),
  ]),
  bytesTarget('client'),
  bytesTarget('server'),
];
