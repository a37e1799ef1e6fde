/** Much data without a repetition that a misplaced record could hide behind, compared byte for byte on arrival. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';

export const MIB = 1024 * 1024;
/** Random bytes, over and over. The length fits no buffer or record, so that each repetition is cut differently. */
const BLOCK_BYTES = 4 * MIB + 12_345;

export interface RandomStream {
  readonly block: Buffer;
  /** Bytes still to send when so many are sent; 0: it is over. */
  remaining(sentBytes: number): number;
  /** Bytes sent so far. */
  sentBytes: number;
}

/** `lengthBytes`, and where `enough` is given as much more as it takes until that is so. */
export function randomStream(lengthBytes: number, enough: () => boolean = () => true): RandomStream {
  return {
    block: randomBytes(BLOCK_BYTES),
    remaining: (sent) => (sent < lengthBytes ? lengthBytes - sent : enough() ? 0 : MIB),
    sentBytes: 0,
  };
}

/** Sends it in chunks of very different lengths, and ends the socket. */
export async function send(socket: Socket, stream: RandomStream): Promise<void> {
  const { block } = stream;
  for (let at = 0, remaining = stream.remaining(0); remaining > 0; remaining = stream.remaining(at)) {
    const start = at % block.length;
    const length = Math.min(remaining, 1 + ((at * 7_919) % 900_000), block.length - start);
    at += length;
    stream.sentBytes = at;
    if (!socket.write(block.subarray(start, start + length))) await once(socket, 'drain');
  }
  socket.end();
}

/** Reads to the end and resolves if exactly this came; the socket stays open for writing. */
export async function receive(socket: Socket, stream: RandomStream): Promise<void> {
  const { block } = stream;
  let at = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    for (let taken = 0; taken < chunk.length; ) {
      const start = at % block.length;
      const length = Math.min(chunk.length - taken, block.length - start);
      if (block.compare(chunk, taken, taken + length, start, start + length) !== 0) {
        throw new Error(`wrong bytes between ${at} and ${at + length}`);
      }
      taken += length;
      at += length;
    }
  }
  if (at !== stream.sentBytes) throw new Error(`${at} bytes came, ${stream.sentBytes} were sent`);
}
