/** Addresses as users write them: `HOST:PORT`, `PORT` (loopback), `[v6]:PORT`, `unix:/path`. */
import { SocketAddress as Ipv6, isIP, isIPv6 } from 'node:net';
import type { SocketAddress } from '../data-path/raw-socket.ts';

/** What `parseAddress` accepts, for error messages. */
export const ADDRESS_FORMS = 'HOST:PORT, PORT (on loopback), [IPv6]:PORT or unix:/path';

/** Longest path of a unix socket that Linux takes (sockaddr_un, without the final zero). */
const MAX_UNIX_PATH_BYTES = 107;
const MAX_HOST_LENGTH = 253;
const LOOPBACK = '127.0.0.1';
const HOST_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/;

/**
 * Parses an address.
 *
 * @throws RangeError with what is wrong, in words for the user.
 */
export function parseAddress(text: string): SocketAddress {
  if (text.startsWith('unix:')) return { path: unixPath(text.slice('unix:'.length)) };
  if (/^\d+$/.test(text)) return { host: LOOPBACK, port: portOf(text) };
  const match = /^(?:\[(.*)\]|([^:]*)):(\d+)$/.exec(text);
  if (match === null) {
    if (isIPv6(text)) throw new RangeError('an IPv6 address needs brackets and a port, as in [::1]:8443');
    if (text.startsWith('/')) throw new RangeError(`a unix socket is written unix:${text}`);
    throw new RangeError(`must be ${ADDRESS_FORMS}`);
  }
  const [, v6, name, port] = match;
  if (v6 !== undefined) {
    if (!isIPv6(v6)) throw new RangeError(`[${v6.slice(0, 64)}] is not an IPv6 address`);
    // A zone such as %eth0 belongs to link-local addresses and goes to the system as it is.
    const host = v6.includes('%') ? v6 : new Ipv6({ address: v6, family: 'ipv6' }).address;
    return { host, port: portOf(port as string) };
  }
  const host = name as string;
  const looksNumeric = /^[\d.]+$/.test(host);
  if (host === '')
    throw new RangeError('a host is missing; write 0.0.0.0 for every address, or the port alone for loopback');
  if (host.length > MAX_HOST_LENGTH || !HOST_NAME.test(host) || (looksNumeric && isIP(host) === 0)) {
    throw new RangeError('is not a host name or IP address with a port');
  }
  return { host, port: portOf(port as string) };
}

/** Whether only this machine can reach the address. Of names only `localhost` is (RFC 6761, 6.3). */
export function isLocalAddress(address: SocketAddress): boolean {
  if ('path' in address) return true;
  const host = address.host.toLowerCase();
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

function portOf(digits: string): number {
  const port = Number(digits);
  if (port > 65_535) throw new RangeError(`port ${digits.slice(0, 12)} is not 0 to 65535`);
  return port;
}

function unixPath(path: string): string {
  if (path === '') throw new RangeError('a path is missing after unix:');
  if (path.includes('\0')) throw new RangeError('a path has no NUL in it');
  if (Buffer.byteLength(path) > MAX_UNIX_PATH_BYTES) {
    throw new RangeError(`the path of a unix socket has at most ${MAX_UNIX_PATH_BYTES} bytes`);
  }
  return path;
}
