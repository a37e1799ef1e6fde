/** The project's source files, and what they import, read without a compiler. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const FOLDERS = ['tls-ext', 'kdi-client', 'qkd-sim', 'certs', 'proxy'] as const;

export interface Import {
  /** Repository path for relative imports, else the package or `node:` module as written. */
  readonly target: string;
  readonly specifier: string;
  readonly relative: boolean;
  /** `import type` or a type-only `import('…')`: gone at run time. */
  readonly typeOnly: boolean;
  /** `import('…')`: loaded later, if at all. */
  readonly dynamic: boolean;
}

export interface SourceFile {
  /** Path in the repository. */
  readonly path: string;
  readonly text: string;
  /** Comments and the contents of strings blanked out, so that words in them don't count. Lines stay. */
  readonly code: string;
  readonly imports: readonly Import[];
}

/** All `.ts` files under a folder of the repository, sorted. */
export function sourceFiles(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length))
    .sort()
    .map((path) => {
      const text = readFileSync(join(ROOT, path), 'utf8');
      return { path, text, code: codeOnly(text), imports: importsOf(path, text) };
    });
}

/** `import … from`, `export … from`: no quotes, semicolons, calls or assignments stand before the specifier. */
const STATIC = /^(import|export)\b(\s+type\b)?[^'"();=]*?\bfrom\s*'([^']+)'/gm;
const SIDE_EFFECT = /^import\s*'([^']+)'/gm;
const DYNAMIC = /\bimport\(\s*'([^']+)'\s*\)(\.\w)?/g;

export function importsOf(path: string, text: string): Import[] {
  const code = withoutComments(text);
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean, dynamic: boolean) => {
    const relative = specifier.startsWith('.');
    const target = relative ? normalize(join(dirname(path), specifier)) : specifier;
    found.push({ target, specifier, relative, typeOnly, dynamic });
  };
  for (const [, , type, specifier] of code.matchAll(STATIC)) add(specifier as string, type !== undefined, false);
  for (const [, specifier] of code.matchAll(SIDE_EFFECT)) add(specifier as string, false, false);
  for (const [, specifier, member] of code.matchAll(DYNAMIC)) add(specifier as string, member !== undefined, true);
  return found;
}

/** A comment, a string or a template, whichever comes first. Regular expressions are told apart well enough for formatted code. */
const TOKEN = /\/\*[\s\S]*?\*\/|(?<![:\\/])\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;

function withoutComments(text: string): string {
  return text.replace(TOKEN, (token) => (token.startsWith('/') ? blank(token) : token));
}

function codeOnly(text: string): string {
  return text.replace(TOKEN, blank);
}

function blank(token: string): string {
  return token.replace(/[^\n]/g, ' ');
}
