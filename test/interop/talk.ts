/** Ways to get data through a connection to a peer's program and to see that it arrived, by what the program does with it. */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { cipherSuiteInfo, cipherSuites } from '../../tls-ext/index.ts';
import { type Choice, codePointOf } from './axes.ts';
import type { EngineSocket } from './engine-socket.ts';
import type { PeerProcess } from './peer-process.ts';

export const TRANSFER_BYTES = 1024 * 1024;
/** Enough that a peer hasn't answered all of it before it hears of our close. */
const LINES_OVER_A_KEY_UPDATE = 45;

export interface Conversation {
  readonly ours: EngineSocket;
  readonly peer: PeerProcess;
  /** The plaintext side of a peer that passes data on. */
  readonly far?: FarSocket;
}

/** Each resolves when all has arrived unchanged, and rejects if the connection or the program ends before. */
export interface Talk {
  exchange(conversation: Conversation): Promise<void>;
  /** `TRANSFER_BYTES` each way, unless the peer says otherwise. */
  transfer?(conversation: Conversation): Promise<void>;
  /** We send more records than our (lowered) limit allows to one key. */
  keyUpdateOurs?(conversation: Conversation): Promise<void>;
  keyUpdateTheirs?(conversation: Conversation): Promise<void>;
  halfCloseOurs?(conversation: Conversation): Promise<void>;
  halfCloseTheirs?(conversation: Conversation): Promise<void>;
}

/** Terminal programs take other letters, at the start of what they read, for commands. */
const HARMLESS_LETTERS = 'adefghijlmnotuvw';

/** Some programs make a record of each line, or read no longer ones. */
const LINE_BYTES = 1024;

/** Random lines of letters, a line's end at the end. */
export function someText(lengthBytes: number): string {
  const letters = Array.from(randomBytes(lengthBytes - 1), (byte) => HARMLESS_LETTERS[byte % HARMLESS_LETTERS.length]);
  for (let at = LINE_BYTES - 1; at < letters.length - 1; at += LINE_BYTES) letters[at] = '\n';
  return `${letters.join('')}\n`;
}

/** Our engine updates its keys after three quarters of this many records, where the choice is about that. */
const KEY_UPDATE_RECORDS = 40;

export async function withKeyUpdates({ suite, feature }: Choice, talk: () => Promise<void>): Promise<void> {
  const aead = cipherSuiteInfo(codePointOf(cipherSuites, suite))?.aead as { sealLimitRecords: number };
  const { sealLimitRecords } = aead;
  if (feature.startsWith('key-update')) aead.sealLimitRecords = KEY_UPDATE_RECORDS;
  try {
    await talk();
  } finally {
    aead.sealLimitRecords = sealLimitRecords;
  }
}

async function arrives(ours: EngineSocket, text: string): Promise<void> {
  await ours.until(() => ours.receivedBytes >= text.length && ours.text().includes(text));
}

/** A program between its terminal and the connection: its input goes to us, what we send is printed. */
export function terminal(
  options: {
    readonly keyUpdate?: (conversation: Conversation) => Promise<void>;
    /** Less than `TRANSFER_BYTES` for a program that prints each byte by itself, or is as slow. */
    readonly transferBytes?: number;
  } = {},
): Talk {
  const { keyUpdate, transferBytes = TRANSFER_BYTES } = options;
  const send = async ({ ours, peer }: Conversation, text: string) => {
    const mark = peer.mark();
    ours.send(text);
    await peer.prints(text, mark);
  };
  const receive = async ({ ours, peer }: Conversation, text: string) => {
    peer.write(text);
    await arrives(ours, text);
  };
  const exchange = async (conversation: Conversation) => {
    await send(conversation, someText(40));
    await receive(conversation, someText(40));
  };
  return {
    exchange,
    async transfer(conversation) {
      await send(conversation, someText(transferBytes));
      await receive(conversation, someText(transferBytes));
    },
    async keyUpdateOurs(conversation) {
      for (let i = 0; i < LINES_OVER_A_KEY_UPDATE; i++) await send(conversation, someText(20));
      await receive(conversation, someText(40));
    },
    ...(keyUpdate === undefined
      ? {}
      : {
          async keyUpdateTheirs(conversation) {
            await exchange(conversation);
            await keyUpdate(conversation);
            await exchange(conversation);
          },
        }),
    async halfCloseOurs(conversation) {
      conversation.ours.closeWrite();
      await receive(conversation, someText(transferBytes));
    },
    async halfCloseTheirs(conversation) {
      const { ours, peer } = conversation;
      peer.endInput();
      await ours.until(() => ours.peerClosed);
      await send(conversation, someText(transferBytes));
    },
  };
}

/** A program that sends back what it gets. */
export function echo(transferBytes = TRANSFER_BYTES): Talk {
  const echoed = async ({ ours }: Conversation, text: string) => {
    ours.send(text);
    await arrives(ours, text);
  };
  return {
    exchange: (conversation) => echoed(conversation, someText(40)),
    transfer: (conversation) => echoed(conversation, someText(transferBytes)),
    async keyUpdateOurs(conversation) {
      for (let i = 0; i < LINES_OVER_A_KEY_UPDATE; i++) await echoed(conversation, someText(20));
    },
    async halfCloseOurs({ ours }) {
      const text = someText(transferBytes);
      ours.send(text);
      ours.closeWrite();
      await arrives(ours, text);
    },
  };
}

/** A program that passes plaintext on to a socket of ours, both closes included. */
export const bridge: Talk = {
  async exchange({ ours, far }) {
    await both(ours, expectFar(far), 40);
  },
  async transfer({ ours, far }) {
    await both(ours, expectFar(far), TRANSFER_BYTES);
  },
  async keyUpdateOurs({ ours, far }) {
    for (let i = 0; i < LINES_OVER_A_KEY_UPDATE; i++) await both(ours, expectFar(far), 20);
  },
  async halfCloseOurs({ ours, far }) {
    const [plain, text] = [expectFar(far), someText(TRANSFER_BYTES)];
    ours.closeWrite();
    await plain.until(() => plain.ended);
    plain.socket.write(text);
    await arrives(ours, text);
  },
  async halfCloseTheirs({ ours, far }) {
    const [plain, text] = [expectFar(far), someText(TRANSFER_BYTES)];
    plain.socket.end();
    await ours.until(() => ours.peerClosed);
    ours.send(text);
    ours.closeWrite();
    await plain.until(() => plain.ended);
    if (plain.text() !== text) throw new Error('the peer passed on something else');
  },
};

async function both(ours: EngineSocket, far: FarSocket, lengthBytes: number): Promise<void> {
  const [there, back] = [someText(lengthBytes), someText(lengthBytes)];
  ours.send(there);
  far.socket.write(back);
  await far.until(() => far.receivedBytes >= there.length && far.text().endsWith(there));
  await arrives(ours, back);
}

function expectFar(far: FarSocket | undefined): FarSocket {
  if (far === undefined) throw new Error('a bridge without a plaintext side');
  return far;
}

/** A plain socket that keeps what it receives. */
export class FarSocket {
  readonly socket: Socket;
  readonly #received: Buffer[] = [];
  readonly #waiting: { readonly done: () => boolean; readonly resolve: () => void }[] = [];
  receivedBytes = 0;
  ended = false;
  #closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      this.receivedBytes += chunk.length;
      this.#wake();
    });
    socket.on('end', () => {
      this.ended = true;
      this.#wake();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  text(): string {
    return Buffer.concat(this.#received).toString('latin1');
  }

  async until(done: () => boolean): Promise<void> {
    if (!done() && !this.#closed) await new Promise<void>((resolve) => this.#waiting.push({ done, resolve }));
    if (!done()) throw new Error("the peer's plaintext side closed first");
  }

  #wake(): void {
    for (const waiter of this.#waiting.splice(0)) {
      if (waiter.done() || this.#closed) waiter.resolve();
      else this.#waiting.push(waiter);
    }
  }
}

/** A web server that answers one request with a page that quotes it, and closes. */
export const httpServer: Talk = {
  async exchange({ ours }) {
    await quoted(ours, (text) => ours.send(`GET /${text} HTTP/1.0\r\n\r\n`));
  },
  async keyUpdateOurs({ ours }) {
    await quoted(ours, (text) => {
      ours.send('GET / HTTP/1.0\r\n');
      for (let i = 0; i < LINES_OVER_A_KEY_UPDATE; i++) ours.send(`X-Line-${i}: ${i}\r\n`);
      ours.send(`X-Text: ${text}\r\n\r\n`);
    });
  },
};

async function quoted(ours: EngineSocket, ask: (text: string) => void): Promise<void> {
  const text = someText(20).trim();
  ask(text);
  await ours.until(() => /^HTTP\/1\.[01] 200 /.test(ours.text()) && ours.text().includes(text));
}

/** A web client that uploads a file and prints the answer. */
export const httpClient: Talk = {
  exchange: (conversation) => answer(conversation, someText(40)),
  transfer: (conversation) => answer(conversation, someText(TRANSFER_BYTES), TRANSFER_BYTES),
  keyUpdateOurs: (conversation) => answer(conversation, someText(40), 0, LINES_OVER_A_KEY_UPDATE),
};

async function answer(
  { ours, peer }: Conversation,
  body: string,
  uploadBytes = 0,
  informationalResponses = 0,
): Promise<void> {
  await ours.until(() => /\r\n\r\n[\s\S]*\n$/.test(ours.text()) && ours.receivedBytes > uploadBytes);
  for (let i = 0; i < informationalResponses; i++) ours.send('HTTP/1.1 102 Processing\r\n\r\n');
  ours.send(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  ours.closeWrite();
  await peer.prints(body, 0);
}
