/** What a tool that asked for JSON gets where a command could not do its work: an object of that command's shape, with why. */

/** Undefined: no JSON was asked for, or the command promises none. */
export function jsonRefusal(args: readonly string[], problems: readonly string[]): object | undefined {
  const options = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  if (!options.includes('--json') && !options.includes('--json=true')) return undefined;
  const [command, subject] = args;
  if (command === 'keys') return { ok: false, source: null, pools: [], problems };
  if (command !== 'doctor') return undefined;
  if (subject === 'peer') return { ok: false, problems };
  const checks = problems.map((detail) => ({ id: 'arguments', ok: false, clause: null, detail, configHint: null }));
  return { ok: false, api: null, dialect: null, keysEqual: null, checks };
}
