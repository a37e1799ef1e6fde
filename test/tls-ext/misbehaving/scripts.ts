/**
 * Scripts: a handshake as a list of named steps, and edits of such lists. A case
 * is the list of a well-behaved peer with an edit or two; every later message
 * of the peer is right for what it really sent before.
 */
import { decodeWhole, encode } from '../../../tls-ext/bytes/index.ts';
import { ContentType } from '../../../tls-ext/record/index.ts';
import type { ScriptedPeer } from './scripted-peer.ts';

/** Sends a handshake message: made, finished (binders are the last thing to be right), put into records. */
export interface SendStep {
  readonly kind: 'send';
  readonly name: string;
  make(peer: ScriptedPeer): Uint8Array;
  finish?(message: Uint8Array, peer: ScriptedPeer): Uint8Array;
  frame?(message: Uint8Array, peer: ScriptedPeer): void;
}

/** Waits for a handshake message of the engine. */
export interface ExpectStep {
  readonly kind: 'expect';
  readonly name: string;
  readonly type: number;
  take?(message: Uint8Array, peer: ScriptedPeer): void;
}

/** Anything else: keys, records, bytes. */
export interface ActStep {
  readonly kind: 'act';
  readonly name: string;
  act(peer: ScriptedPeer): void;
}

export type Step = SendStep | ExpectStep | ActStep;
export type Script = readonly Step[];
export type Edit = (script: Script) => Script;

export const act = (name: string, run: (peer: ScriptedPeer) => void): ActStep => ({ kind: 'act', name, act: run });

export function expects(name: string, type: number, take?: ExpectStep['take']): ExpectStep {
  return { kind: 'expect', name, type, ...(take === undefined ? {} : { take }) };
}

export function sends(name: string, make: SendStep['make'], finish?: SendStep['finish']): SendStep {
  return { kind: 'send', name, make, ...(finish === undefined ? {} : { finish }) };
}

/** Runs the next step; `false` if it waits for a message that has not come. */
export function runStep(step: Step, peer: ScriptedPeer): boolean {
  switch (step.kind) {
    case 'act':
      step.act(peer);
      return true;
    case 'send': {
      const made = step.make(peer);
      const message = step.finish?.(made, peer) ?? made;
      if (step.frame === undefined) peer.send(message);
      else {
        peer.note(message);
        step.frame(message, peer);
      }
      return true;
    }
    case 'expect': {
      const message = peer.nextMessage();
      if (message === undefined) return false;
      if (message[0] !== step.type) throw new Error(`the engine sent message ${message[0]} instead of ${step.name}`);
      step.take?.(message, peer);
      return true;
    }
  }
}

// Edits of the list.

function indexOf(script: Script, name: string): number {
  const index = script.findIndex((step) => step.name === name);
  if (index === -1) throw new Error(`no step ${name} in the script`);
  return index;
}

const splice =
  (name: string, replace: (step: Step) => readonly Step[]): Edit =>
  (script) => {
    const at = indexOf(script, name);
    return [...script.slice(0, at), ...replace(script[at] as Step), ...script.slice(at + 1)];
  };

export const drop = (name: string): Edit => splice(name, () => []);
export const repeat = (name: string): Edit => splice(name, (step) => [step, step]);
export const before = (name: string, ...steps: readonly Step[]): Edit => splice(name, (step) => [...steps, step]);
export const after = (name: string, ...steps: readonly Step[]): Edit => splice(name, (step) => [step, ...steps]);
/** Everything from this step on is not done; the steps given are, instead. */
export const insteadOf =
  (name: string, ...steps: readonly Step[]): Edit =>
  (script) => [...script.slice(0, indexOf(script, name)), ...steps];
/** After a complete handshake. */
export const finally_ =
  (...steps: readonly Step[]): Edit =>
  (script) => [...script, ...steps];
export const swap =
  (one: string, other: string): Edit =>
  (script) => {
    const [a, b] = [indexOf(script, one), indexOf(script, other)];
    return script.map((step, i) => (i === a ? script[b] : i === b ? script[a] : step) as Step);
  };
export const both =
  (...edits: readonly Edit[]): Edit =>
  (script) =>
    edits.reduce((edited, edit) => edit(edited), script);
/** As it is. */
export const nothing: Edit = (script) => script;

// Edits of a message.

const onSend =
  (name: string, change: (step: SendStep) => SendStep): Edit =>
  (script) =>
    splice(name, (step) => {
      if (step.kind !== 'send') throw new Error(`${name} is not a message`);
      return [change(step)];
    })(script);

/** Another whole message, before its binders. */
export const alter = (name: string, change: (message: Uint8Array, peer: ScriptedPeer) => Uint8Array): Edit =>
  onSend(name, (step) => ({ ...step, make: (peer) => change(step.make(peer), peer) }));

/** The finished message is changed: binders don't cover it. */
export const corrupt = (name: string, change: (message: Uint8Array) => Uint8Array): Edit =>
  onSend(name, (step) => ({ ...step, finish: (message, peer) => change(step.finish?.(message, peer) ?? message) }));

/** The message goes out in other records. */
export const framed = (name: string, frame: (message: Uint8Array, peer: ScriptedPeer) => void): Edit =>
  onSend(name, (step) => ({ ...step, frame }));

/** A new body; the header's length follows. */
export const alterBody = (name: string, change: (body: Uint8Array) => Uint8Array): Edit =>
  alter(name, (message) => withBody(message, change(message.subarray(4))));

export function withBody(message: Uint8Array, body: Uint8Array): Uint8Array {
  return encode((writer) => writer.u8(message[0] as number).vector(3, body));
}

/** One byte of the message, header included. A negative index counts from the end. */
export const setByte = (name: string, at: number, value: number | ((byte: number) => number)): Edit =>
  corrupt(name, (message) => {
    const changed = message.slice();
    const index = at < 0 ? changed.length + at : at;
    changed[index] = typeof value === 'number' ? value : value(changed[index] as number);
    return changed;
  });

export const flip = (byte: number): number => byte ^ 1;

/** A body one byte shorter or longer than its last field says. */
export const cutShort = (name: string): Edit => alterBody(name, (body) => body.subarray(0, -1));
export const trailing = (name: string): Edit => alterBody(name, (body) => Uint8Array.of(...body, 0));

// Edits of extension blocks, on the wire's level: any order, any number, any content.

export interface RawExtension {
  readonly type: number;
  readonly data: Uint8Array;
}

/** The extension of this type and content; hex for content would hide what stands there. */
export const extension = (type: number, ...data: readonly number[]): RawExtension => ({
  type,
  data: Uint8Array.from(data),
});

/** Where the (first) block of extensions of a message stands in its body. */
function blockAt(message: Uint8Array): number {
  const body = message.subarray(4);
  const u16 = (at: number) => ((body[at] as number) << 8) | (body[at + 1] as number);
  const u24 = (at: number) => ((body[at] as number) << 16) | u16(at + 1);
  switch (message[0]) {
    case 1: {
      const suites = 35 + (body[34] as number);
      const compression = suites + 2 + u16(suites);
      return compression + 1 + (body[compression] as number);
    }
    case 2:
      return 35 + (body[34] as number) + 3;
    case 8:
      return 0;
    case 13:
      return 1 + (body[0] as number);
    case 11: {
      const entry = 1 + (body[0] as number) + 3;
      return entry + 3 + u24(entry);
    }
    case 4: {
      const ticket = 9 + (body[8] as number);
      return ticket + 2 + u16(ticket);
    }
    default:
      throw new Error(`message ${message[0]} has no extensions`);
  }
}

export const alterExtensions = (
  name: string,
  change: (list: readonly RawExtension[], peer: ScriptedPeer) => readonly RawExtension[],
): Edit => alter(name, (message, peer) => editExtensions(message, (list) => change(list, peer)));

export function editExtensions(
  message: Uint8Array,
  change: (list: readonly RawExtension[]) => readonly RawExtension[],
): Uint8Array {
  const body = message.subarray(4);
  const at = blockAt(message);
  const lengthBytes = ((body[at] as number) << 8) | (body[at + 1] as number);
  const list = decodeWhole(body.subarray(at + 2, at + 2 + lengthBytes), (reader) => {
    const extensions: RawExtension[] = [];
    while (reader.remaining > 0) extensions.push({ type: reader.u16(), data: reader.vector(2) });
    return extensions;
  });
  const block = encode((writer) =>
    writer.vector(2, () => {
      for (const { type, data } of change(list)) writer.u16(type).vector(2, data);
    }),
  );
  let changed: Uint8Array = Uint8Array.of(...body.subarray(0, at), ...block, ...body.subarray(at + 2 + lengthBytes));
  if (message[0] === 11) changed = withEntryListLength(changed);
  return withBody(message, changed);
}

/** certificate_list's length, after its first entry changed. */
function withEntryListLength(body: Uint8Array): Uint8Array {
  const at = 1 + (body[0] as number);
  const entries = body.subarray(at + 3);
  return Uint8Array.of(...body.subarray(0, at), ...encode((writer) => writer.vector(3, entries)));
}

/** In front of the others, so that pre_shared_key stays the last. */
export const addExtension = (name: string, added: RawExtension): Edit =>
  alterExtensions(name, (list) => [added, ...list]);
export const removeExtension = (name: string, type: number): Edit =>
  alterExtensions(name, (list) => {
    if (!list.some((one) => one.type === type)) throw new Error(`${name} has no extension ${type}`);
    return list.filter((one) => one.type !== type);
  });
export const setExtension = (name: string, type: number, ...data: readonly number[]): Edit =>
  alterExtensions(name, (list) => list.map((one) => (one.type === type ? extension(type, ...data) : one)));
export const repeatExtension = (name: string, type: number): Edit =>
  alterExtensions(name, (list) => list.flatMap((one) => (one.type === type ? [one, one] : [one])));

// Records.

/** Cut into records after so many bytes of the message each. */
export const inPieces = (name: string, ...lengths: readonly number[]): Edit =>
  framed(name, (message, peer) => {
    let at = 0;
    for (const length of [...lengths, message.length]) {
      const piece = message.subarray(at, at + length);
      if (piece.length > 0) peer.record(ContentType.handshake, piece);
      at += length;
    }
  });

/** On the wire twice, in the transcript once. */
export const sentTwice = (name: string): Edit =>
  framed(name, (message, peer) => {
    peer.record(ContentType.handshake, message);
    peer.record(ContentType.handshake, message);
  });

export const sendRecord = (type: number, content: Uint8Array, zeros = 0): ActStep =>
  act(`a record of type ${type}`, (peer) => peer.record(type, content, zeros));
export const sendPlaintext = (type: number, content: Uint8Array): ActStep =>
  act(`a plaintext record of type ${type}`, (peer) => peer.plaintext(type, content));
/** A message, not right for anything. */
export const sendMessage = (message: Uint8Array): ActStep => act('another message', (peer) => peer.send(message));
