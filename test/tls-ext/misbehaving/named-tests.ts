/** Which titles of tests exist, for documents that name them. */
import { readdirSync, readFileSync } from 'node:fs';

const root = new URL('../../', import.meta.url);

function readSources(): string {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(
      (path) => /\.(test|long)\.ts$/.test(path) || /(?:misbehaving\/cases\/.*|key-channel\/cases)\.ts$/.test(path),
    )
    .map((path) => readFileSync(new URL(path, root), 'utf8'))
    .join('\n');
}

let sources: string | undefined;

/** Whether some test file holds this title as a literal: whole, between quotes, or as the bare key of a table. */
export function isNamedTest(title: string): boolean {
  sources ??= readSources();
  const text = sources;
  const quoted = ["'", '"', '`'].some((quote) => text.includes(`${quote}${title}${quote}`));
  return quoted || (/^\w+$/.test(title) && text.includes(`\n      ${title}:`));
}

/** A document of ours. */
export function readDocument(name: string): string {
  return readFileSync(new URL(`../docs/${name}`, root), 'utf8');
}
