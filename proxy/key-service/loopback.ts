import { BlockList, isIP } from 'node:net';
import type { SocketAddress } from '../data-path/index.ts';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether an address can't leave this machine. A name counts only if it is `localhost`: others may resolve to anything. */
export function isLoopback(address: SocketAddress): boolean {
  if ('path' in address) return true;
  if (address.host === 'localhost') return true;
  const family = isIP(address.host);
  return family !== 0 && loopback.check(address.host, family === 6 ? 'ipv6' : 'ipv4');
}
