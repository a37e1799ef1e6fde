/** Memory that both threads see: what the fuzzing thread executes now, for whoever has to stop it. */
import { MAX_INPUT_BYTES } from './mutate.ts';

const COUNT = 0;
const TARGET = 1;
const LENGTH = 2;
const HEADER_BYTES = 12;

export class SharedInput {
  readonly buffer: SharedArrayBuffer;
  readonly #header: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(buffer = new SharedArrayBuffer(HEADER_BYTES + MAX_INPUT_BYTES)) {
    this.buffer = buffer;
    this.#header = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.#bytes = new Uint8Array(buffer, HEADER_BYTES);
  }

  /** Before each execution. Longer inputs, from files and seeds, are cut. */
  announce(target: number, input: Uint8Array): void {
    const whole = input.subarray(0, MAX_INPUT_BYTES);
    this.#bytes.set(whole);
    this.#header[TARGET] = target;
    Atomics.store(this.#header, LENGTH, whole.length);
    Atomics.add(this.#header, COUNT, 1);
  }

  /** Executions begun: as long as it grows, the thread is alive. */
  get count(): number {
    return Atomics.load(this.#header, COUNT);
  }

  get current(): { readonly target: number; readonly input: Uint8Array } {
    const length = Atomics.load(this.#header, LENGTH);
    return { target: this.#header[TARGET] as number, input: this.#bytes.slice(0, length) };
  }
}
