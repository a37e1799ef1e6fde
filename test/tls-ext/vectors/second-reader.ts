/** Starts the second reader, which is written in Python from the draft's text. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const script = new URL('second_reader.py', import.meta.url).pathname;
/** The first may be one of the user's own, without Debian's packages. */
const INTERPRETERS = ['python3', '/usr/bin/python3'];

/** A Python that has python3-cryptography, if there is one. */
export async function findPython(): Promise<string | undefined> {
  for (const interpreter of INTERPRETERS) {
    try {
      await run(interpreter, ['-c', 'import cryptography.hazmat.primitives.ciphers.aead, cryptography.x509']);
      return interpreter;
    } catch {}
  }
  return undefined;
}

/** What the reader says of a file; `failed` is what it doesn't like. */
export async function readVectors(
  python: string,
  ...args: readonly string[]
): Promise<{ said?: string; failed?: string }> {
  try {
    // -B: no compiled files in the source tree.
    const { stdout } = await run(python, ['-B', script, ...args]);
    return { said: stdout };
  } catch (error) {
    return { failed: String((error as { stderr?: string }).stderr ?? error) };
  }
}
