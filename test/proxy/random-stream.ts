/** Much data without a repetition that a misplaced record could hide behind, compared byte for byte on arrival. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';

export const MIB = 1024 * 1024;
/** Random bytes, over and over. The length fits no buffer or record, so that each repetition is cut differently. */
const BLOCK_BYTES = 4 * MIB + 12_345;

export interface RandomStream {
  readonly block: Buffer;
  readonly lengthBytes: number;
}

export function randomStream(lengthBytes: number): RandomStream {
  return { block: randomBytes(BLOCK_BYTES), lengthBytes };
}

/** Sends it in chunks of very different lengths, and ends the socket. */
export async function send(socket: Socket, { block, lengthBytes }: RandomStream): Promise<void> {
  for (let at = 0; at < lengthBytes; ) {
    const start = at % block.length;
    const length = Math.min(lengthBytes - at, 1 + ((at * 7_919) % 900_000), block.length - start);
    if (!socket.write(block.subarray(start, start + length))) await once(socket, 'drain');
    at += length;
  }
  socket.end();
}

/** Reads to the end and resolves if exactly this came; the socket stays open for writing. */
export async function receive(socket: Socket, { block, lengthBytes }: RandomStream): Promise<void> {
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
  if (at !== lengthBytes) throw new Error(`${at} bytes came, ${lengthBytes} were sent`);
}
