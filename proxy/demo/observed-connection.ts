import type { LogEvent } from '../log.ts';
import type { ChildProxy } from './child-proxy.ts';

type ConnectionLine = Extract<LogEvent, { event: 'connection' }>;

/** One connection through both proxies, as each of them logged it by itself. Field names are those of `--json`. */
export interface ObservedConnection {
  readonly service: string;
  readonly mode: string;
  readonly group?: string;
  readonly cipher?: string;
  readonly keyId?: string;
  /** Both ends computed a TLS exporter fingerprint, and they are the same. Absent where there was no session at both ends. */
  readonly fingerprintsAgree?: boolean;
  readonly fingerprint?: string;
  /** Why there is no QKD key in it, as the client's side logged it. */
  readonly reason?: string;
  /** The same as the server's side logged it. */
  readonly reasonAtServer?: string;
  /** For people: why it was refused. */
  readonly error?: string;
  readonly handshakeMs?: number;
  /** Whether the application got the answer that it would have got without proxies. */
  readonly applicationServed: boolean;
}

/**
 * Lets an application make one request through `service`, and reads at both
 * proxies what became of it. One at a time for each service.
 */
export async function observe(
  service: string,
  client: ChildProxy,
  server: ChildProxy,
  request: () => Promise<boolean>,
): Promise<ObservedConnection> {
  const clientFrom = client.events.length;
  const serverFrom = server.events.length;
  const applicationServed = await request().catch(() => false);
  const ofService = (event: ConnectionLine) => event.service === service;
  const here = await client.event('connection', ofService, { from: clientFrom });
  const mode = here.mode ?? 'refused';
  // A refusal can be the client's own: then the server has heard nothing.
  const there = mode === 'refused' ? undefined : await server.event('connection', ofService, { from: serverFrom });
  return {
    service,
    mode,
    ...pick(here, ['group', 'cipher', 'keyId', 'fingerprint', 'reason', 'error', 'handshakeMs']),
    ...(there === undefined
      ? {}
      : { fingerprintsAgree: here.fingerprint !== undefined && here.fingerprint === there.fingerprint }),
    ...(there?.reason === undefined ? {} : { reasonAtServer: there.reason }),
    applicationServed,
  };
}

function pick<K extends keyof ConnectionLine>(line: ConnectionLine, keys: readonly K[]): Pick<ConnectionLine, K> {
  return Object.fromEntries(keys.flatMap((key) => (line[key] === undefined ? [] : [[key, line[key]]]))) as Pick<
    ConnectionLine,
    K
  >;
}
