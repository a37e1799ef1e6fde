/** How a faulty key manager fails: what it says, and how it says it. */

/** What happens to the bytes of a reply, or to a connection. */
export type WireFault =
  /** No reply; the connection is kept. */
  | { readonly fault: 'hang' }
  /** The reply comes this much later. */
  | { readonly fault: 'delay'; readonly ms: number }
  /** The connection is reset (TCP RST) or ended (FIN) after this many bytes of the reply. */
  | { readonly fault: 'reset' | 'end'; readonly afterBytes: number }
  /** This many bytes of the reply, then silence. */
  | { readonly fault: 'stall'; readonly afterBytes: number }
  /** A byte at a time, with a pause after each. */
  | { readonly fault: 'drip'; readonly everyMs: number }
  /** Other bytes instead of the reply; then the connection is ended. */
  | { readonly fault: 'instead'; readonly bytes: Uint8Array }
  /** The reply changed, as a whole. */
  | { readonly fault: 'rewrite'; readonly rewrite: (reply: Uint8Array) => Uint8Array }
  /** These bytes, then zeros for ever. */
  | { readonly fault: 'endless'; readonly head: Uint8Array }
  /** TCP connections are accepted and closed, or accepted and never answered. */
  | { readonly fault: 'slam' | 'mute' };

/** What it says wrongly, in good form. */
export type SpokenFault =
  /** This status: of 004, or of HTTP. */
  | { readonly fault: 'status'; readonly status: number; readonly body?: string; readonly location?: string }
  /** 014 and SKIP: this body, with status 200. */
  | { readonly fault: 'body'; readonly body: string }
  /** Other bits than the other side has. */
  | { readonly fault: 'other-bits' }
  /** What it gave last, once more. */
  | { readonly fault: 'repeat' }
  /** 014, SKIP: under another ID than was asked for. 004: under an index that is far ahead. */
  | { readonly fault: 'other-id' }
  /** Keys, or chunks, of this length. */
  | { readonly fault: 'length'; readonly bytes: number }
  /** 014: the same key twice in one reply. */
  | { readonly fault: 'twice' }
  /** 014: more keys than were asked for. */
  | { readonly fault: 'surplus' }
  /** 004: metadata larger than any buffer that was offered first (status 8, until there is room). */
  | { readonly fault: 'big-metadata'; readonly bytes: number };

export type KmeFault = WireFault | SpokenFault;

const WIRE: ReadonlySet<KmeFault['fault']> = new Set([
  'hang',
  'delay',
  'reset',
  'end',
  'stall',
  'drip',
  'instead',
  'rewrite',
  'endless',
  'slam',
  'mute',
]);

export function isWireFault(fault: KmeFault | undefined): fault is WireFault {
  return fault !== undefined && WIRE.has(fault.fault);
}

/** Which calls fail: those that bring keys, those that open or tell the status, or all. */
export type FaultyCalls = 'key' | 'open' | 'all';
