/** Names of an enum of the wire and their code points, both ways. */
export interface CodeTable<Name extends string> {
  code(name: Name): number;
  /** `undefined` for a code point that we don't know. */
  name(code: number): Name | undefined;
}

export function codeTable<Name extends string>(codes: Readonly<Record<Name, number>>): CodeTable<Name> {
  const names = new Map((Object.entries(codes) as [Name, number][]).map(([name, code]) => [code, name]));
  return { code: (name) => codes[name], name: (code) => names.get(code) };
}
