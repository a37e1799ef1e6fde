/** Faults on demand, as layers around key managers that have none. For tests and drills. */
import type { Etsi004Status } from '../../kdi-client/wire/index.ts';
import type { KeySupply, SharedKey } from '../stores/index.ts';
import type { Etsi004Handler } from './etsi004-connection.ts';
import type { KmePeer } from './peer-directory.ts';

/** What one 004 call suffers. */
export type Etsi004Fault =
  /** It is answered with a status, whatever it asked for. */
  | { readonly type: 'status'; readonly status: Etsi004Status }
  /** It is never answered. */
  | { readonly type: 'hang' }
  /** The key comes, but its first bit is flipped. */
  | { readonly type: 'corrupt-key' };

/** A layer for `KmeOptions.etsi004Layer`: `nextFault` is asked for each call. */
export function etsi004Faults(nextFault: () => Etsi004Fault | undefined) {
  return (_saeId: string, handle: Etsi004Handler): Etsi004Handler =>
    async (request, dialect, signal) => {
      const fault = nextFault();
      switch (fault?.type) {
        case undefined:
          return handle(request, dialect, signal);
        case 'status':
          return { service: request.service, status: fault.status };
        case 'hang':
          return new Promise<never>(() => {});
        case 'corrupt-key': {
          const response = await handle(request, dialect, signal);
          if (response.service === 'get-key' && response.delivery !== undefined) flipFirstBit(response.delivery.key);
          return response;
        }
      }
    };
}

/** A peer whose key differs from what the peer itself hands out: two key managers that disagree on every bit string. */
export function disagreeing<Peer extends KmePeer>(peer: Peer): Peer {
  return { ...peer, supply: corrupted(peer.supply) };
}

function corrupted<Purpose>(supply: KeySupply<Purpose>): KeySupply<Purpose> {
  const corrupt = (shared: SharedKey): SharedKey => {
    flipFirstBit(shared.key.expose());
    return shared;
  };
  return {
    provenance: supply.provenance,
    level: () => supply.level(),
    inboundHeldBytes: () => supply.inboundHeldBytes(),
    onDeposit: (listener) => supply.onDeposit(listener),
    async reserve(purpose, lengthBytes) {
      const reservation = await supply.reserve(purpose, lengthBytes);
      return reservation.outcome === 'reserved'
        ? { outcome: 'reserved', shared: corrupt(reservation.shared) }
        : reservation;
    },
    setReceiver: (receiver) =>
      supply.setReceiver({
        admits: (purpose) => receiver.admits(purpose),
        receive: (purpose, shared) => receiver.receive(purpose, corrupt(shared)),
      }),
  };
}

function flipFirstBit(key: Uint8Array): void {
  key[0] = (key[0] as number) ^ 0x80;
}
