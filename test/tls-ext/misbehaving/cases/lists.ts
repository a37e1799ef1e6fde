/** Lists with more entries than a peer has a use for: bounds of ours (tls-ext/messages/limits.ts). */
import { encode } from '../../../../tls-ext/bytes/index.ts';
import {
  MAX_ALPN_PROTOCOLS,
  MAX_CERTIFICATE_AUTHORITIES,
  MAX_EXTENSIONS,
  MAX_PSK_IDENTITIES,
} from '../../../../tls-ext/messages/limits.ts';
import { casesAgainst, decodeError } from '../case.ts';
import { addExtension, alterExtensions, extension, type RawExtension, setExtension } from '../scripts.ts';

const CH = 'ClientHello';
const CR = 'CertificateRequest';
const mutual = { mutual: true } as const;

/** A vector of equal entries, each a vector itself. */
function list(type: number, count: number, prefixBytes: 1 | 2, entry: readonly number[]): RawExtension {
  const data = encode((writer) =>
    writer.vector(2, () => {
      for (let i = 0; i < count; i++) writer.vector(prefixBytes, Uint8Array.from(entry));
    }),
  );
  return { type, data };
}

const protocols = (count: number) => list(16, count, 1, [0x61]);
const authorities = (count: number) => list(47, count, 2, [0x30, 0]);

/** pre_shared_key with so many identities that nobody knows. */
export function manyPsks(count: number): RawExtension {
  const data = encode((writer) => {
    writer.vector(2, () => {
      for (let i = 0; i < count; i++) writer.vector(2, Uint8Array.of(0x70, i)).u32(0);
    });
    writer.vector(2, () => {
      for (let i = 0; i < count; i++) writer.vector(1, new Uint8Array(32));
    });
  });
  return { type: 41, data };
}

const withPsks = (count: number) =>
  alterExtensions(CH, (all) => all.map((one) => (one.type === 41 ? manyPsks(count) : one)));
const unknownPsks = { psk: 'unavailable', server: { qkd: false } } as const;

export const listCases = [
  ...casesAgainst('server', {
    'ClientHello with as many protocols as are read': [addExtension(CH, protocols(MAX_ALPN_PROTOCOLS)), 'connected'],
    'ClientHello with a protocol more': [addExtension(CH, protocols(MAX_ALPN_PROTOCOLS + 1)), decodeError],
    'ClientHello with as many PSKs as are read': [withPsks(MAX_PSK_IDENTITIES), 'connected', unknownPsks],
    'ClientHello with a PSK more': [withPsks(MAX_PSK_IDENTITIES + 1), decodeError, unknownPsks],
    'ClientHello with as many authorities as are read': [
      addExtension(CH, authorities(MAX_CERTIFICATE_AUTHORITIES)),
      'connected',
    ],
    'ClientHello with an authority more': [addExtension(CH, authorities(MAX_CERTIFICATE_AUTHORITIES + 1)), decodeError],
    'ClientHello with more than 64 extensions': [
      alterExtensions(CH, (all) => [
        ...Array.from({ length: MAX_EXTENSIONS }, (_, i) => extension(0x7700 + i)),
        ...all,
      ]),
      decodeError,
    ],
    'ClientHello with 17 shares': [
      setExtension(CH, 51, 0, 17 * 5, ...Array.from({ length: 17 }, (_, i) => [0x77, i, 0, 1, 0]).flat()),
      decodeError,
    ],
    'ClientHello with 129 groups': [
      setExtension(CH, 10, 1, 2, ...Array.from({ length: 129 }, (_, i) => [0x77, i]).flat()),
      decodeError,
    ],
    'status_request of an unknown type, which is ignored': [addExtension(CH, extension(5, 9, 0)), 'connected'],
  }),
  ...casesAgainst('client', {
    'CertificateRequest with as many authorities as are read': [
      addExtension(CR, authorities(MAX_CERTIFICATE_AUTHORITIES)),
      'connected',
      mutual,
    ],
    'CertificateRequest with an authority more': [
      addExtension(CR, authorities(MAX_CERTIFICATE_AUTHORITIES + 1)),
      decodeError,
      mutual,
    ],
  }),
];
