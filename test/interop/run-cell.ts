/** Runs one cell of the matrix: our engine in one role, the peer's program in the other, one choice of values. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createClientEngine, createServerEngine, type ResumptionPsk } from '../../tls-ext/index.ts';
import { allValues, type Choice, type Feature, NO_SIGNATURE } from './axes.ts';
import type { Credentials } from './credentials.ts';
import { connectEngine, type EngineServer, type EngineSocket, listenEngine } from './engine-socket.ts';
import type { FoundPeer } from './find-peers.ts';
import { expectNegotiated, isRetried } from './negotiated.ts';
import { ourClient, ourServer, pskFor } from './our-end.ts';
import { runOwnEnds } from './own-ends.ts';
import { ourPsk, type PeerEnd, type Role, type Setting, type Start } from './peer.ts';
import { PeerProcess } from './peer-process.ts';
import { OWN_ENDS } from './peers/own-ends.ts';
import { type Conversation, FarSocket, type Talk, withKeyUpdates } from './talk.ts';

/** Longer than any of them takes on a busy machine: who says nothing until then has not understood us. */
const CELL_LIMIT_MS = 15_000;
/** Its meaning is ours alone. */
const TICKET_HANDLE = new Uint8Array(16).fill(0x74);
/** There is no event for another process's socket. */
const LISTENING_POLL_MS = 2;
/** The last part of what a peer said that an error quotes. */
const QUOTED_CHARACTERS = 2000;

export interface Cell {
  readonly peer: FoundPeer;
  /** The peer's. */
  readonly role: Role;
  readonly choice: Choice;
}

interface RunningServer {
  readonly process: PeerProcess;
  readonly port: number;
}

export class CellRunner {
  readonly #credentials: Credentials;
  /** Peers' servers that take further connections, by command line. */
  readonly #servers = new Map<string, RunningServer>();
  readonly #backend: Server;
  readonly #plainSockets: Socket[] = [];
  #sessions = 0;
  #awaitPlain: ((socket: Socket) => void) | undefined;

  static async create(credentials: Credentials): Promise<CellRunner> {
    const backend = createServer({ allowHalfOpen: true });
    backend.listen(0, '127.0.0.1');
    await once(backend, 'listening');
    return new CellRunner(credentials, backend);
  }

  private constructor(credentials: Credentials, backend: Server) {
    this.#credentials = credentials;
    this.#backend = backend;
    backend.on('connection', (socket) => {
      if (this.#awaitPlain) this.#awaitPlain(socket);
      else this.#plainSockets.push(socket);
      this.#awaitPlain = undefined;
    });
  }

  /** Resolves if all went as the choice says; rejects with what went wrong and what the peer said. */
  async run({ peer, role, choice }: Cell): Promise<void> {
    if (peer.peer.name === OWN_ENDS) return runOwnEnds(this.#credentials, choice);
    const end = peer.ends[role];
    if (typeof end === 'string') throw new Error(end);
    for (const socket of this.#plainSockets.splice(0)) socket.destroy();
    if (role === 'server') await this.#againstServer(peer, end, choice);
    else await this.#againstClient(peer, end, choice);
  }

  async close(): Promise<void> {
    for (const { process } of this.#servers.values()) await process.kill();
    this.#servers.clear();
    for (const socket of this.#plainSockets) socket.destroy();
    this.#backend.close();
  }

  async #againstServer(peer: FoundPeer, end: PeerEnd, choice: Choice): Promise<void> {
    const theirs = isRetried(choice) ? [choice.group] : Object.keys(end.groups);
    const startAt = (port: number) => end.start(this.#setting(peer, end, choice, theirs, port));
    const key = JSON.stringify([peer.id, startAt(0)]);
    const running = this.#servers.get(key) ?? (await startServer(peer, startAt));
    const connections = async () => {
      const ticket = await this.#connectTo(running, end, choice);
      if (ticket !== undefined) await this.#connectTo(running, end, choice, ticket);
    };
    let worked = false;
    try {
      await withLimit(running.process, connections());
      worked = true;
    } finally {
      if (worked && end.reusable) this.#servers.set(key, running);
      else {
        this.#servers.delete(key);
        await running.process.kill();
      }
    }
  }

  /** One connection; where a second is to resume it, returns a ticket. */
  async #connectTo(
    { port, process }: RunningServer,
    end: PeerEnd,
    choice: Choice,
    ticket?: ResumptionPsk,
  ): Promise<ResumptionPsk | undefined> {
    const groups = isRetried(choice) ? [otherGroup(end, choice.group), choice.group] : [choice.group];
    const engine = createClientEngine(ourClient(this.#credentials, choice, groups, end.psk ?? ourPsk, ticket));
    const ours = await connectEngine(port, engine, { ca: this.#credentials.ca });
    let far: FarSocket | undefined;
    try {
      expectNegotiated(choice, 'client', await ours.handshake(), ticket !== undefined);
      if (end.passesOn) far = await this.#plainSide();
      await converse(end, choice, { ours, peer: process, ...(far ? { far } : {}) });
      if (choice.feature !== 'resumption' || ticket !== undefined) return undefined;
      await ours.until(() => ours.tickets.length > 0);
      const [issued] = ours.tickets as [EngineSocket['tickets'][number]];
      ours.closeWrite();
      return { ...issued.psk, obfuscatedTicketAge: issued.ageAdd };
    } finally {
      ours.destroy();
      far?.socket.destroy();
    }
  }

  async #againstClient(peer: FoundPeer, end: PeerEnd, choice: Choice): Promise<void> {
    let ticket: ResumptionPsk | undefined;
    const listener = await listenEngine(() => createServerEngine(ourServer(this.#credentials, choice)), {
      ca: this.#credentials.ca,
      psk: ({ offered }) => {
        if (choice.feature !== 'resumption') {
          return { action: 'use', psk: pskFor(choice.feature, end.psk ?? ourPsk) };
        }
        const known = offered.some(({ identity }) => Buffer.compare(identity, TICKET_HANDLE) === 0);
        return ticket !== undefined && known
          ? { action: 'use', psk: ticket }
          : { action: 'continue', result: 'unavailable' };
      },
    });
    const groups = isRetried(choice) ? [otherOf(end, choice.group), choice.group] : [choice.group];
    const setting = this.#setting(peer, end, choice, groups, listener.port);
    const processes: PeerProcess[] = [];
    const begin = (again: boolean) => {
      const start = end.start({ ...setting, again });
      const process = new PeerProcess(peer.program(start.program), start.args);
      processes.push(process);
      return { process, start };
    };
    const first = begin(false);
    try {
      await withLimit(
        first.process,
        this.#acceptFrom(listener, 0, end, choice, first, (issued) => (ticket = issued)),
      );
      if (choice.feature !== 'resumption') return;
      const second = end.passesOn || end.beforeReconnecting ? first : begin(true);
      await withLimit(second.process, this.#acceptFrom(listener, 1, end, choice, second));
    } finally {
      listener.close();
      for (const process of processes) await process.kill();
    }
  }

  /** One connection; where a second is to resume it, issues a ticket. */
  async #acceptFrom(
    listener: EngineServer,
    after: number,
    end: PeerEnd,
    choice: Choice,
    { process, start }: { readonly process: PeerProcess; readonly start: Start },
    onTicket?: (ticket: ResumptionPsk) => void,
  ): Promise<void> {
    let far: FarSocket | undefined;
    try {
      if (end.passesOn) {
        const socket = connect({ port: await portOf(process, start), host: '127.0.0.1', allowHalfOpen: true });
        far = new FarSocket(socket);
        await once(socket, 'connect');
      }
      const ours = await Promise.race([listener.accepted(after), endedBefore(process, 'it connected')]);
      expectNegotiated(choice, 'server', await ours.handshake(), after > 0);
      const conversation = { ours, peer: process, ...(far ? { far } : {}) };
      if (choice.feature !== 'resumption' || after > 0) return await converse(end, choice, conversation);
      onTicket?.(ours.issueTicket(TICKET_HANDLE));
      await (end.beforeReconnecting ?? end.talk.exchange)(conversation);
      ours.closeWrite();
      if (!end.passesOn && !end.beforeReconnecting) {
        process.endInput();
        await process.ends();
      }
    } finally {
      far?.socket.destroy();
    }
  }

  async #plainSide(): Promise<FarSocket> {
    const waiting = this.#plainSockets.shift();
    return new FarSocket(
      waiting ??
        (await new Promise<Socket>((resolve) => {
          this.#awaitPlain = resolve;
        })),
    );
  }

  #setting(peer: FoundPeer, end: PeerEnd, choice: Choice, groups: readonly string[], port: number): Setting {
    const { signature } = choice;
    return {
      choice,
      groups: groups.map((group) => end.groups[group] ?? group),
      leaf: this.#credentials.leaf(signature === NO_SIGNATURE ? 'ecdsa_secp256r1_sha256' : signature),
      credentials: this.#credentials,
      port,
      backendPort: (this.#backend.address() as AddressInfo).port,
      place: peer.place,
      sessionPath: join(this.#credentials.folder, `session-${peer.id}-${++this.#sessions}`),
      again: false,
    };
  }
}

/** A group to try first at a server that is going to refuse it: one that it doesn't know, if there is one. */
function otherGroup(end: PeerEnd, group: string): string {
  const others = allValues.group.filter((name) => name !== group);
  return others.find((name) => !(name in end.groups)) ?? (others[0] as string);
}

/** A group of the peer's to try first at our server. */
function otherOf(end: PeerEnd, group: string): string {
  const other = Object.keys(end.groups).find((name) => name !== group);
  if (other === undefined) throw new Error('the peer has one group only');
  return other;
}

/** What the feature is about, after the handshake. */
async function converse(end: PeerEnd, choice: Choice, conversation: Conversation): Promise<void> {
  await withKeyUpdates(choice, async () => wayOf(end.talk, choice.feature)?.(conversation));
  if (conversation.ours.error !== undefined) throw conversation.ours.error;
}

/** How the data goes for a feature; `undefined` where the peer hasn't it. */
export function wayOf(talk: Talk, feature: Feature): Talk['exchange'] | undefined {
  switch (feature) {
    case 'large-transfer':
      return talk.transfer;
    case 'key-update-ours':
      return talk.keyUpdateOurs;
    case 'key-update-theirs':
      return talk.keyUpdateTheirs;
    case 'half-close-ours':
      return talk.halfCloseOurs;
    case 'half-close-theirs':
      return talk.halfCloseTheirs;
    default:
      return talk.exchange;
  }
}

async function startServer(peer: FoundPeer, startAt: (port: number) => Start): Promise<RunningServer> {
  for (;;) {
    const start = startAt(await freePort());
    const process = new PeerProcess(peer.program(start.program), start.args);
    try {
      return { process, port: await withLimit(process, portOf(process, start)) };
    } catch (error) {
      await process.kill();
      if (!/in use/i.test(process.output)) throw error;
    }
  }
}

/** Where a program listens. Some say that they do a moment before. */
async function portOf(process: PeerProcess, start: Start): Promise<number> {
  await process.says(start.ready ?? /(?:)/);
  for (;;) {
    const port = process.listeningPort();
    if (port !== undefined) return port;
    if (process.ended) throw new Error(`the peer ended before it listened:\n${process.output}`);
    await setTimeout(LISTENING_POLL_MS);
  }
}

/** For programs that don't take 0 for a port. Somebody may be faster and take this one: then it's another's turn. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function endedBefore(process: PeerProcess, what: string): Promise<never> {
  await process.ends();
  throw new Error(`the peer ended before ${what}`);
}

/** Rejects in the end, and says what the peer said. */
async function withLimit<T>(process: PeerProcess, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = globalThis.setTimeout(() => reject(new Error(`no end after ${CELL_LIMIT_MS / 1000} s`)), CELL_LIMIT_MS);
  });
  try {
    return await Promise.race([work, limit]);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const said = process.output.slice(-QUOTED_CHARACTERS).trim();
    throw new Error(message.includes(said) ? message : `${message}\nthe peer said:\n${said}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
