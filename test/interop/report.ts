/** What became of the cells: tables for people, an object for programs. */
import { type Axis, allValues, axisNames, type Choice, featureDescriptions, shortName } from './axes.ts';
import type { FoundPeer, MissingPeer } from './find-peers.ts';
import { exclusionsOf, reasonAgainst, roles } from './matrix.ts';
import type { Role } from './peer.ts';

export interface CellResult {
  readonly peer: string;
  readonly role: Role;
  readonly choice: Choice;
  readonly milliseconds: number;
  /** Absent: it went well. */
  readonly error?: string;
}

/** How one value went with one end of one peer. `not run`: by --filter. */
export type Outcome = 'ok' | 'failed' | 'not run' | { readonly cannot: string };

export interface Report {
  readonly runtime: string;
  readonly peers: readonly {
    readonly id: string;
    readonly title: string;
    readonly outcomes: Readonly<Record<Role, Readonly<Record<Axis, Readonly<Record<string, Outcome>>>>>>;
    /** Combinations that aren't run though each value is. */
    readonly exclusions: readonly string[];
  }[];
  readonly missing: readonly MissingPeer[];
  readonly cells: readonly CellResult[];
}

export function reportOf(
  peers: readonly FoundPeer[],
  missing: readonly MissingPeer[],
  cells: readonly CellResult[],
): Report {
  const outcome = (peer: FoundPeer, role: Role, axis: Axis, value: string): Outcome => {
    const cannot = reasonAgainst(peer.ends[role], axis, value);
    if (cannot !== undefined) return { cannot };
    const of = cells.filter((cell) => cell.peer === peer.id && cell.role === role && cell.choice[axis] === value);
    if (of.length === 0) return 'not run';
    return of.some(({ error }) => error !== undefined) ? 'failed' : 'ok';
  };
  const byValue = (peer: FoundPeer, role: Role, axis: Axis) =>
    Object.fromEntries(allValues[axis].map((value) => [value, outcome(peer, role, axis, value)]));
  const byAxis = (peer: FoundPeer, role: Role) =>
    Object.fromEntries(axisNames.map((axis) => [axis, byValue(peer, role, axis)])) as Record<
      Axis,
      Record<string, Outcome>
    >;
  return {
    runtime: `Node ${process.version} (OpenSSL ${process.versions.openssl})`,
    peers: peers.map((peer) => ({
      id: peer.id,
      title: peer.title,
      outcomes: { server: byAxis(peer, 'server'), client: byAxis(peer, 'client') },
      exclusions: exclusionsOf(peer),
    })),
    missing,
    cells,
  };
}

/** A table for each axis in Markdown, one row for each end of each peer, and the reasons below as numbered notes. */
export function tablesOf({ peers, missing, cells }: Report): string {
  const notes: string[] = [];
  const note = (reason: string) => {
    if (!notes.includes(reason)) notes.push(reason);
    return `${notes.indexOf(reason) + 1}`;
  };
  const text = (outcome: Outcome) =>
    typeof outcome === 'string' ? { ok: 'ok', failed: '**failed**', 'not run': '' }[outcome] : note(outcome.cannot);
  const lines: string[] = [];
  for (const axis of axisNames) {
    const rows = [['peer', 'as', ...allValues[axis].map((value) => shortName(axis, value))]];
    for (const { title, outcomes } of peers) {
      for (const role of roles) {
        const each = allValues[axis].map((value) => outcomes[role][axis][value] ?? 'not run');
        // A role that the peer hasn't at all is said once, below.
        if (each.every((outcome) => typeof outcome !== 'string')) {
          const reasons = new Set(each.map(text));
          if (reasons.size === 1) continue;
        }
        rows.push([title, role, ...each.map(text)]);
      }
    }
    lines.push(`### ${axis[0]?.toUpperCase()}${axis.slice(1)}s`, '', ...tableOf(rows), '');
  }
  lines.push('Numbers say why not:', '', ...notes.map((reason, index) => `${index + 1}. ${reason}`), '');
  const exclusions = new Set(peers.flatMap(({ exclusions }) => exclusions));
  if (exclusions.size > 0) {
    lines.push('Combinations that are not run:', '', ...[...exclusions].map((each) => `- ${each}`), '');
  }
  if (missing.length > 0) lines.push(...missing.map(({ id, missing: why }) => `- ${id} is not there: ${why}`), '');
  const failed = cells.filter(({ error }) => error !== undefined).length;
  lines.push(`${cells.length} cells with ${peers.length} peers, ${failed} failed`);
  return lines.join('\n');
}

/** What the headings of the last table mean. */
export function legend(): string {
  return Object.entries(featureDescriptions)
    .map(([feature, description]) => `- ${shortName('feature', feature)}: ${description}`)
    .join('\n');
}

function tableOf(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...body.map(line)];
}
