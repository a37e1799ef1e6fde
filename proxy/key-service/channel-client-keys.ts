/** Keys for one client service: those of the channel to its address, under its own rules. */
import {
  type KeyLease as DrawnLease,
  type KeyPurpose,
  type NoKeyReason,
  referenceText,
  type TakeOptions,
  type TakeResult,
} from '../../kdi-client/index.ts';
import type { EventLog } from '../log.ts';
import type { Requirement } from '../policy.ts';
import type { ClientKeys, KeyOffer, KeyWish, RekeyLease } from '../tunnel/settings.ts';
import type { DrawerChannel } from './drawer-channel.ts';
import { lastFailure } from './kme.ts';
import type { PeerKeys } from './peer-keys.ts';
import { type ProvenanceProblem, type ProvenanceRules, provenanceProblem } from './provenance.ts';

export interface ChannelClientKeysOptions {
  readonly service: string;
  readonly ownSae: string;
  readonly channel: DrawerChannel;
  readonly rules: ProvenanceRules;
  readonly log: EventLog;
}

export class ChannelClientKeys implements ClientKeys {
  readonly #options: ChannelClientKeysOptions;
  /** Why there was no key when one was wanted last. */
  #lastReason: string | undefined;
  /** What was wrong with the last key that was not good enough. */
  #problem: ProvenanceProblem | undefined;

  constructor(options: ChannelClientKeysOptions) {
    this.#options = options;
  }

  get peerSae(): string | undefined {
    return this.#options.channel.keys?.peerSae;
  }

  get peerRequirement(): Requirement | undefined {
    return this.#options.channel.peerRequirement;
  }

  take(wish: KeyWish = {}): KeyOffer {
    const { keys } = this.#options.channel;
    return keys === undefined ? { reason: 'channel_down' } : this.#offer(keys, keys.take(this.#wanted(keys, wish)));
  }

  async takeWithin(timeoutMs: number, signal: AbortSignal): Promise<KeyOffer> {
    const { channel } = this.#options;
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      const leftMs = Math.max(0, deadlineMs - performance.now());
      const { keys, sameKeys } = channel;
      const over = leftMs === 0 || signal.aborted;
      if (keys === undefined) {
        if (over) return { reason: 'channel_down' };
        await channel.moved(leftMs, signal);
        continue;
      }
      const either = AbortSignal.any([signal, sameKeys]);
      const result = await keys.takeWithin(leftMs, { ...this.#wanted(keys, {}), signal: either });
      if (channel.keys === keys || over) return this.#offer(keys, result);
      // Another process answers at the address now, and has none of these keys.
      if (result.ok) giveBack(result.lease);
    }
  }

  takeForRekey(peerSae: string): RekeyLease | undefined {
    const { keys } = this.#options.channel;
    if (keys?.peerSae !== peerSae) return undefined;
    const result = keys.take({ purpose: 'rekey', fits: (provenance) => this.#fits(provenance) });
    return result.ok ? this.#leaseOf(keys, result.lease, 'rekey') : undefined;
  }

  readonly onKeys = (listener: () => void): (() => void) => this.#options.channel.onKeys(listener);

  #wanted(keys: PeerKeys, { ticketAtHand = false }: KeyWish): TakeOptions {
    this.#problem = undefined;
    return {
      fits: (provenance) => this.#fits(provenance),
      ...keys.admission(this.#options.service, ticketAtHand),
    };
  }

  #fits(provenance: DrawnLease['provenance']): boolean {
    const problem = provenanceProblem(this.#options.rules, provenance);
    if (problem !== undefined) this.#problem = problem;
    return problem === undefined;
  }

  #offer(keys: PeerKeys, result: TakeResult): KeyOffer {
    if (!result.ok) return this.#noKey(keys, result.reason);
    this.#lastReason = undefined;
    return { lease: this.#leaseOf(keys, result.lease, 'handshake') };
  }

  #leaseOf(keys: PeerKeys, lease: DrawnLease, purpose: KeyPurpose): RekeyLease {
    const { reference, secret, provenance } = lease;
    const { ownSae, service } = this.#options;
    return {
      psk: { kind: 'qkd', reference, context: { purpose, drawer: ownSae, answerer: keys.peerSae }, secret },
      keyId: referenceText(reference),
      provenance,
      commit: () => keys.commit(lease, service),
      release: (why) => {
        if (why === 'unavailable') lease.discard();
        else lease.release();
      },
    };
  }

  #noKey(keys: PeerKeys, reason: NoKeyReason): KeyOffer {
    const problem = reason === 'policy' ? this.#problem : lastFailure(keys.status().pool);
    const said = `${reason} ${problem?.code}`;
    if (this.#lastReason !== said) {
      this.#lastReason = said;
      const { ownSae: sae, service, channel, log } = this.#options;
      const { address } = channel;
      log.warn({ event: 'keys-unavailable', service, sae, peer: keys.peerSae, address, reason, ...problem });
    }
    return { reason };
  }
}

function giveBack(lease: DrawnLease): void {
  lease.secret.wipe();
  lease.release();
}

/** A service without a key manager offers no key, and says that this is its own choice. */
export const noClientKeys: ClientKeys = {
  peerRequirement: undefined,
  take: () => ({ reason: 'policy' }),
  takeWithin: async () => ({ reason: 'policy' }),
  takeForRekey: () => undefined,
};
