/** Whether a certificate names a host (RFC 9525): subject alternative names only, the common name is not asked. */
import { BlockList, isIP, isIPv6, SocketAddress } from 'node:net';
import type { Certificate } from './certificate.ts';

/** `host` is a DNS name (a trailing dot is ignored) or an IP address, IPv6 with or without brackets. */
export function certificateNamesHost(certificate: Certificate, host: string): boolean {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  if (isIP(bare) !== 0) return certificate.ipAddresses.some((octets) => isAddress(octets, bare));
  const name = bare.toLowerCase().replace(/\.$/, '');
  return certificate.dnsNames.some((pattern) => matchesName(pattern, name));
}

/** `*` stands for exactly one whole leftmost label (RFC 9525, 6.3). */
function matchesName(pattern: string, name: string): boolean {
  if (!pattern.startsWith('*.')) return pattern === name;
  const dot = name.indexOf('.');
  return dot > 0 && pattern.indexOf('.', 2) !== -1 && pattern.slice(1) === name.slice(dot);
}

function isAddress(octets: Uint8Array, address: string): boolean {
  const family = octets.length === 16 ? 'ipv6' : 'ipv4';
  if (isIPv6(address) !== (family === 'ipv6')) return false;
  // BlockList compares addresses by value, whatever their spelling.
  const only = new BlockList();
  only.addAddress(ipAddressText(octets), family);
  return only.check(address, family);
}

/** An address of a certificate as people write it, IPv6 in its short form. */
export function ipAddressText(octets: Uint8Array): string {
  if (octets.length === 4) return octets.join('.');
  const groups = Buffer.from(octets).toString('hex').match(/.{4}/g) ?? [];
  return new SocketAddress({ address: groups.join(':'), family: 'ipv6' }).address;
}
