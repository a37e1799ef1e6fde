/** Which peers are here: each of peers/ at each of its places, with its version and what that version can do. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { Peer, PeerEnd, Program, Role } from './peer.ts';
import { peers } from './peers/index.ts';
import { libraryPath, locate, type Place } from './places.ts';

export interface FoundPeer {
  /** `NAME@PLACE`. */
  readonly id: string;
  readonly title: string;
  readonly version: string;
  readonly place: Place;
  readonly peer: Peer;
  readonly ends: Readonly<Record<Role, PeerEnd | string>>;
  program(name: string): Program;
}

/** A peer that isn't where it could be. */
export interface MissingPeer {
  readonly id: string;
  readonly title: string;
  readonly missing: string;
}

/** Every peer at every place (of these), once for each version. */
export function findPeers(places?: readonly Place[]): (FoundPeer | MissingPeer)[] {
  const all = peers.flatMap((peer) =>
    peer.places.filter((place) => places?.includes(place) ?? true).map((place) => findPeer(peer, place)),
  );
  return all.filter((one, index) => !all.slice(0, index).some(({ title }) => title === one.title));
}

function findPeer(peer: Peer, place: Place): FoundPeer | MissingPeer {
  const id = `${peer.name}@${place}`;
  const absent = (missing: string): MissingPeer => ({ id, title: `${peer.title} (${place})`, missing });
  const programs = new Map(peer.programs.map((name) => [name, locate(place, name)]));
  const lacking = [...programs].find(([, found]) => found === undefined)?.[0];
  if (lacking !== undefined) return absent(`${lacking} is not ${place === 'installed' ? 'installed' : 'fetched'}`);
  const program = (name: string) => programs.get(name) ?? (locate(place, name) as Program);
  const told = versionText(peer, place, program).match(peer.version.pattern);
  if (told === null) return absent('it tells no version');
  const version = told.slice(1).join(', ');
  const ends = peer.ends(version, place);
  return { id, title: `${peer.title} ${version}`, version, place, peer, ends, program };
}

function versionText({ version }: Peer, place: Place, program: (name: string) => Program): string {
  if ('library' in version) {
    const path = libraryPath(place, version.library);
    return existsSync(path) ? readFileSync(path, 'latin1') : '';
  }
  const { command, args = [], env = {}, cwd } = program(version.program);
  const { stdout, stderr } = spawnSync(command, [...args, ...version.args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    cwd,
    input: '',
  });
  return `${stdout}${stderr}`;
}

export function isFound(peer: FoundPeer | MissingPeer): peer is FoundPeer {
  return !('missing' in peer);
}
