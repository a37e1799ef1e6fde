import type { KeySupply } from '../stores/index.ts';
import type { KeyPurpose } from './key-purpose.ts';
import { hasSchemeAndHost, saeIdOfUri } from './sae-identity.ts';
import type { StreamPort } from './stream-port.ts';

/** Another key manager that this one shares key with. */
export interface KmePeer {
  readonly kmeId: string;
  /** The applications that it serves. */
  readonly saeIds: readonly string[];
  readonly supply: KeySupply<KeyPurpose>;
  readonly port: StreamPort;
}

/** Who is where: the SAEs of this key manager and those of its peers. */
export class PeerDirectory {
  readonly #local: ReadonlySet<string>;
  readonly #peers = new Map<string, KmePeer>();
  readonly #bySae = new Map<string, KmePeer>();

  constructor(localSaeIds: readonly string[]) {
    this.#local = new Set(localSaeIds);
  }

  add(peer: KmePeer): void {
    this.#peers.set(peer.kmeId, peer);
    for (const saeId of peer.saeIds) this.#bySae.set(saeId, peer);
  }

  get peers(): readonly KmePeer[] {
    return [...this.#peers.values()];
  }

  isLocal(saeId: string): boolean {
    return this.#local.has(saeId);
  }

  peer(kmeId: string): KmePeer | undefined {
    return this.#peers.get(kmeId);
  }

  /** The key manager that serves `saeId`, if it is one of the peers. */
  peerOfSae(saeId: string): KmePeer | undefined {
    return this.#bySae.get(saeId);
  }

  /**
   * The SAE that `callerSaeId` wants to share key with. The caller may stand
   * on either side of the request: whether the second application gives Source
   * and Destination as the first did, or swapped, differs in the field.
   */
  remoteSae(
    callerSaeId: string,
    request: { readonly source: string; readonly destination: string },
    options: { readonly demandHost: boolean },
  ): string | undefined {
    if (!this.#local.has(callerSaeId)) return undefined;
    const uris = [request.source, request.destination];
    if (options.demandHost && !uris.every(hasSchemeAndHost)) return undefined;
    const [source, destination] = uris.map((uri) =>
      saeIdOfUri(uri, (saeId) => this.#local.has(saeId) || this.#bySae.has(saeId)),
    );
    const remote = source === callerSaeId ? destination : destination === callerSaeId ? source : undefined;
    return remote !== undefined && this.#bySae.has(remote) ? remote : undefined;
  }
}
