import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** All that is written for readers, by paths from the root. */
export const documents: readonly string[] = ['.', 'docs', 'tls-ext', 'tls-ext/models'].flatMap((folder) =>
  readdirSync(join(ROOT, folder))
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);

export const textOf = (document: string): string => readFileSync(join(ROOT, document), 'utf8');

export interface Link {
  readonly document: string;
  /** From the root; the document itself where the link names only a section of it. */
  readonly file: string;
  /** Of the section, behind `#`. */
  readonly fragment: string | undefined;
}

/** Links from document to document. */
export function relativeLinks(): Link[] {
  return documents.flatMap((document) =>
    [
      ...withoutExamples(textOf(document))
        .replace(/`[^`\n]*`/g, '')
        .matchAll(/\]\(([^)\s]+)\)/g),
    ].flatMap(([, target]): Link[] => {
      if (target === undefined || /^[a-z]+:/.test(target)) return [];
      const [path, fragment] = target.split('#') as [string, string | undefined];
      return [{ document, file: path === '' ? document : join(document, '..', path), fragment }];
    }),
  );
}

/** Names of the sections of a document, as GitHub and npm make them of headings. */
export function fragmentsOf(document: string): string[] {
  return [...withoutExamples(textOf(document)).matchAll(/^#{1,6} +(.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function withoutExamples(text: string): string {
  return text.replace(/^```.*?^```/gms, '');
}
