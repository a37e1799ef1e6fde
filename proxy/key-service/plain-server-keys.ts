/**
 * Keys for server services with `auth: psk`: fetched from our key manager when
 * a ClientHello names one (`lookup: on-hello`), since a stock peer announces
 * nothing. A stranger can name what it likes, so names are checked before, and
 * look-ups limited; and what was fetched is kept for the handshake that proves
 * the key, since key managers hand each out only once.
 */
import {
  AnswererStore,
  type Clock,
  isKdiError,
  KdiErrorCode,
  type KeySource,
  type LookupStream,
  type QkdKeyReference,
  referenceText,
  type SpentLedger,
} from '../../kdi-client/index.ts';
import type { PskRequired } from '../data-path/index.ts';
import { errorCode, errorText } from '../errors.ts';
import { type EventLog, RepeatLimiter } from '../log.ts';
import type { PendingKeyAnswer, ServerKeyAnswer } from '../tunnel/settings.ts';
import { isUnreachable } from './kme.ts';
import { type GiveBack, LookUpLimits } from './look-up-limits.ts';
import { referenceOfIdentity } from './plain-identity.ts';
import { type ProvenanceProblem, type ProvenanceRules, provenanceProblem } from './provenance.ts';

export interface PlainServerKeysOptions {
  readonly ownSae: string;
  /** The peer, as our key manager knows it. */
  readonly peerSae: string;
  readonly source: KeySource;
  readonly clock: Clock;
  readonly log: EventLog;
  readonly keyTtlMs: number;
  /** Most keys fetched and not yet used. */
  readonly quota: number;
  readonly ledger: SpentLedger;
}

/** What a service asks of a key beyond its being there. */
export interface PlainServerRules {
  readonly service: string;
  /** How long a handshake waits for the key manager. */
  readonly lookUpTimeoutMs: number;
  readonly provenance: (remoteAddress: string) => ProvenanceRules;
}

interface Asked {
  readonly identity: Uint8Array;
  readonly reference: QkdKeyReference;
  readonly remoteAddress: string;
  readonly rules: PlainServerRules;
}

type Unknown = 'malformed' | 'used-before' | 'limit' | 'not-found' | 'kme';

/** All server services with the same SAEs and key manager share it: a key serves one handshake of all of them. */
export class PlainServerKeys {
  readonly #options: PlainServerKeysOptions;
  readonly #store: AnswererStore;
  readonly #limits: LookUpLimits;
  readonly #repeats = new RepeatLimiter();
  /** Look-ups under way: two handshakes that name one key cause one request. */
  readonly #asking = new Map<string, Promise<Unknown | undefined>>();
  readonly #permits = new Map<string, GiveBack>();
  #stream: Promise<LookupStream> | undefined;
  #kmeReachable: boolean | undefined;
  #unknown = 0;

  constructor(options: PlainServerKeysOptions) {
    const { clock, keyTtlMs, quota, ledger } = options;
    this.#options = options;
    this.#store = new AnswererStore({ clock, keyTtlMs, maxKeysPerDrawer: quota, ledger });
    this.#limits = new LookUpLimits(() => clock.now());
  }

  /** Answers a ClientHello: at once from memory, else when the key manager has answered. */
  lookUp(event: PskRequired, rules: PlainServerRules, remoteAddress: string): ServerKeyAnswer | PendingKeyAnswer {
    const asked = this.#firstNamed(event, rules, remoteAddress);
    if (asked === undefined) return this.#unavailable('malformed', rules, remoteAddress);
    const known = this.#find(asked);
    if (known !== undefined) return known;
    if (this.#store.refusal(asked.reference) !== undefined) {
      return this.#unavailable('used-before', rules, remoteAddress);
    }
    const text = referenceText(asked.reference);
    let asking = this.#asking.get(text);
    if (asking === undefined) {
      const giveBack = this.#limits.permit(remoteAddress);
      if (giveBack === undefined) return this.#unavailable('limit', rules, remoteAddress);
      asking = this.#ask(asked, text, giveBack).finally(() => this.#asking.delete(text));
      this.#asking.set(text, asking);
    }
    return {
      answer: asking.then((problem) =>
        problem === undefined
          ? (this.#find(asked) ?? this.#unavailable('used-before', rules, remoteAddress))
          : this.#unavailable(problem, rules, remoteAddress),
      ),
    };
  }

  async close(): Promise<void> {
    await this.#options.source.close();
    await Promise.all(this.#asking.values());
    this.#store.close();
  }

  /** The first identity with the form of a name of ours: one look-up for each ClientHello. */
  #firstNamed({ offered }: PskRequired, rules: PlainServerRules, remoteAddress: string): Asked | undefined {
    const { source, peerSae } = this.#options;
    for (const { identity } of offered) {
      const reference = referenceOfIdentity(source.api, peerSae, identity);
      if (reference !== undefined) {
        return { identity: Uint8Array.from(identity), reference, remoteAddress, rules };
      }
    }
    return undefined;
  }

  #find({ identity, reference, remoteAddress, rules }: Asked): ServerKeyAnswer | undefined {
    const found = this.#store.find(reference);
    if (found === undefined) return undefined;
    const problem = provenanceProblem(rules.provenance(remoteAddress), found.provenance);
    if (problem !== undefined) {
      found.secret.wipe();
      this.#logUnfit(problem, rules, remoteAddress);
      return { why: 'policy', reason: 'policy' };
    }
    return {
      decision: { action: 'use', psk: { kind: 'plain', identity, secret: found.secret } },
      reference,
      keyId: referenceText(reference),
      provenance: found.provenance,
      burn: () => this.#burn(reference),
    };
  }

  #burn(reference: QkdKeyReference): boolean {
    if (!this.#store.burn(reference)) return false;
    const text = referenceText(reference);
    this.#permits.get(text)?.();
    this.#permits.delete(text);
    return true;
  }

  /** Fetches a key into the store; why that did not work, if it didn't. Never rejects. */
  async #ask({ reference, rules }: Asked, text: string, giveBack: GiveBack): Promise<Unknown | undefined> {
    const { clock } = this.#options;
    const abort = new AbortController();
    const cancel = clock.schedule(() => abort.abort(), rules.lookUpTimeoutMs);
    try {
      const stream = await this.#lookUpStream();
      await this.#store.acceptOnce(await stream.lookup(reference, { signal: abort.signal }));
      this.#permits.set(text, giveBack);
      this.#boundPermits();
      this.#setKme(true);
      return undefined;
    } catch (error) {
      if (isKdiError(error, KdiErrorCode.keyNotFound)) {
        this.#setKme(true);
        return 'not-found';
      }
      if (isKdiError(error) && isUnreachable(error)) this.#setKme(false, error);
      return isKdiError(error, KdiErrorCode.alreadyUsed) ? 'used-before' : 'kme';
    } finally {
      cancel();
    }
  }

  async #lookUpStream(): Promise<LookupStream> {
    const { peerSae, source } = this.#options;
    this.#stream ??= source.openLookup(peerSae);
    try {
      return await this.#stream;
    } catch (error) {
      this.#stream = undefined;
      throw error;
    }
  }

  /** Permits of keys that nobody proved stay taken, and end here once there are more than keys. */
  #boundPermits(): void {
    if (this.#permits.size <= this.#options.quota) return;
    const [oldest] = this.#permits.keys();
    this.#permits.delete(oldest as string);
  }

  #logUnfit(problem: ProvenanceProblem, { service }: PlainServerRules, address: string): void {
    if (this.#repeats.pass(`${service} ${problem.code}`) === undefined) return;
    const { log, ownSae: sae, peerSae: peer } = this.#options;
    log.warn({ event: 'keys-unavailable', service, sae, peer, address, reason: 'policy', ...problem });
  }

  #unavailable(why: Unknown, { service }: PlainServerRules, clientAddress: string): ServerKeyAnswer {
    this.#unknown++;
    const pass = this.#repeats.pass(`${service} ${why}`);
    if (pass !== undefined) {
      const { log } = this.#options;
      const suppressed = pass.suppressed === 0 ? {} : { suppressed: pass.suppressed };
      log.warn({ event: 'unknown-key', service, clientAddress, why, count: this.#unknown, ...suppressed });
    }
    return { why: 'unavailable', reason: why === 'kme' ? 'peer_kme_unreachable' : 'reference_unavailable' };
  }

  #setKme(reachable: boolean, error?: Error): void {
    if (this.#kmeReachable === reachable) return;
    this.#kmeReachable = reachable;
    const { log, ownSae: sae, source } = this.#options;
    const event = { event: 'kme', kme: source.kme, sae } as const;
    const code = errorCode(error);
    if (reachable) log.info({ ...event, state: 'reachable' });
    else
      log.warn({
        ...event,
        state: 'unreachable',
        ...(code === undefined ? {} : { code }),
        ...(error === undefined ? {} : { error: errorText(error) }),
      });
  }
}
