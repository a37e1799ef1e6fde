/** Runs one cell of the matrix: our engine in one role, the peer's program in the other, one choice of values. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import {
  cipherSuiteInfo,
  cipherSuites,
  createClientEngine,
  createServerEngine,
  type HandshakeSummary,
  namedGroups,
} from '../../tls-ext/index.ts';
import { allValues, type Choice, codePointOf, NO_SIGNATURE } from './axes.ts';
import type { Credentials } from './credentials.ts';
import { connectEngine, type EngineSocket, listenEngine } from './engine-socket.ts';
import type { FoundPeer } from './find-peers.ts';
import { isImported, ourClient, ourServer, pskFor } from './our-end.ts';
import { ourPsk, type PeerEnd, type Role, type Setting, type Start } from './peer.ts';
import { PeerProcess } from './peer-process.ts';
import { type Conversation, FarSocket } from './talk.ts';

/** Longer than any of them takes on a busy machine: who says nothing until then has not understood us. */
const CELL_LIMIT_MS = 15_000;
/** Our engine updates its keys after three quarters of this many records. */
const KEY_UPDATE_RECORDS = 40;
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
    const groups = isRetried(choice) ? [otherGroup(end, choice.group), choice.group] : [choice.group];
    const theirs = isRetried(choice) ? [choice.group] : Object.keys(end.groups);
    const startAt = (port: number) => end.start(this.#setting(peer, end, choice, theirs, port));
    const key = JSON.stringify([peer.id, startAt(0)]);
    const running = this.#servers.get(key) ?? (await startServer(peer, startAt));
    let ours: EngineSocket | undefined;
    let worked = false;
    try {
      const engine = createClientEngine(ourClient(this.#credentials, choice, groups, end.psk ?? ourPsk));
      ours = await connectEngine(running.port, engine, { ca: this.#credentials.ca });
      const socket = ours;
      await withLimit(
        running.process,
        this.#converse(end, choice, 'client', socket, running.process, () => this.#plainSide()),
      );
      worked = true;
    } finally {
      ours?.destroy();
      if (worked && end.reusable) this.#servers.set(key, running);
      else {
        this.#servers.delete(key);
        await running.process.kill();
      }
    }
  }

  async #againstClient(peer: FoundPeer, end: PeerEnd, choice: Choice): Promise<void> {
    const options = ourServer(this.#credentials, choice);
    const listener = await listenEngine(() => createServerEngine(options), {
      ca: this.#credentials.ca,
      psk: () => ({ action: 'use', psk: pskFor(choice.feature, end.psk ?? ourPsk) }),
    });
    const groups = isRetried(choice) ? [otherOf(end, choice.group), choice.group] : [choice.group];
    const start = end.start(this.#setting(peer, end, choice, groups, listener.port));
    const process = new PeerProcess(peer.program(start.program), start.args);
    let far: FarSocket | undefined;
    const conversation = async () => {
      if (end.passesOn) {
        const socket = connect({ port: await portOf(process, start), host: '127.0.0.1', allowHalfOpen: true });
        far = new FarSocket(socket);
        await once(socket, 'connect');
      }
      const ours = await Promise.race([listener.accepted(), endedBefore(process, 'it connected')]);
      await this.#converse(end, choice, 'server', ours, process, async () => far as FarSocket);
    };
    try {
      await withLimit(process, conversation());
    } finally {
      far?.socket.destroy();
      listener.close();
      await process.kill();
    }
  }

  async #converse(
    end: PeerEnd,
    choice: Choice,
    role: Role,
    ours: EngineSocket,
    peer: PeerProcess,
    plainSide: () => Promise<FarSocket>,
  ): Promise<void> {
    const aead = cipherSuiteInfo(codePointOf(cipherSuites, choice.suite))?.aead as { sealLimitRecords: number };
    const { sealLimitRecords } = aead;
    if (choice.feature === 'key-update-ours') aead.sealLimitRecords = KEY_UPDATE_RECORDS;
    try {
      expectNegotiated(choice, await ours.handshake(), role);
      await talkOf(end, choice, { ours, peer, ...(end.passesOn ? { far: await plainSide() } : {}) });
      if (ours.error !== undefined) throw ours.error;
    } finally {
      aead.sealLimitRecords = sealLimitRecords;
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
    };
  }
}

const isRetried = ({ feature }: Choice) => feature === 'hrr' || feature === 'hrr-cookie';

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

function expectNegotiated(choice: Choice, summary: HandshakeSummary, role: Role): void {
  const psk = isImported(choice.feature) ? 'qkd' : choice.feature.startsWith('psk') ? 'plain' : 'none';
  const wanted = {
    group: codePointOf(namedGroups, choice.group),
    cipherSuite: codePointOf(cipherSuites, choice.suite),
    helloRetryRequest: isRetried(choice),
    psk,
    peerCertificate: role === 'client' ? choice.signature !== NO_SIGNATURE : choice.feature === 'client-certificate',
  };
  for (const [name, value] of Object.entries(wanted)) {
    const got = summary[name as keyof HandshakeSummary];
    if (got !== value) throw new Error(`${name} is ${String(got)}, ${String(value)} wanted`);
  }
}

async function talkOf({ talk }: PeerEnd, { feature }: Choice, conversation: Conversation): Promise<void> {
  switch (feature) {
    case 'large-transfer':
      return talk.transfer?.(conversation);
    case 'key-update-ours':
      return talk.keyUpdateOurs?.(conversation);
    case 'key-update-theirs':
      return talk.keyUpdateTheirs?.(conversation);
    case 'half-close-ours':
      return talk.halfCloseOurs?.(conversation);
    case 'half-close-theirs':
      return talk.halfCloseTheirs?.(conversation);
    default:
      return talk.exchange(conversation);
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

/** Where a program listens, once it says that it does. */
async function portOf(process: PeerProcess, start: Start): Promise<number> {
  const [, said] = await process.says(start.ready ?? /(?:)/);
  const port = said === undefined ? process.listeningPort() : Number(said);
  if (port === undefined) throw new Error(`the peer doesn't listen:\n${process.output}`);
  return port;
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
    timer = setTimeout(() => reject(new Error(`no end after ${CELL_LIMIT_MS / 1000} s`)), CELL_LIMIT_MS);
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
