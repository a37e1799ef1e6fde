import type { SimError } from './errors.ts';
import type { LinkForecast } from './forecast.ts';
import type { Clock } from './kernel/clock.ts';
import type { KmeEvent, KmeSettings, KmeTls } from './kme/index.ts';
import type { LinkRunnerOptions } from './link/link-runner.ts';
import type { BlockProgress, BlockReport, LinkConfig } from './link/link-types.ts';
import type { StoreLevel } from './stores/index.ts';

/** One of the two key managers at the ends of the link. */
export interface SimulatedKmeOptions {
  readonly kmeId: string;
  /** The applications that it serves. */
  readonly saeIds: readonly string[];
  /** Its own certificate and key, and the CA of its clients. */
  readonly tls: KmeTls;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Of its 004 server; default 0, any free one. */
  readonly port?: number;
  /** Of its HTTPS server, for 014 and SKIP; default 0, any free one. */
  readonly httpsPort?: number;
  readonly settings?: KmeSettings;
}

/** Where the key goes for which the stores have no room. */
export type Surplus = 'pause' | 'drop';

export interface SimulatorOptions extends Omit<LinkConfig, 'eavesdropper'> {
  /** The link's ends: Alice's, then Bob's. */
  readonly kmes: readonly [SimulatedKmeOptions, SimulatedKmeOptions];
  /** Simulated seconds per wall second; default 1. `Infinity`: as fast as it computes. */
  readonly speed?: number;
  /** Share (0 to 1) of the pulses that an eavesdropper intercepts and resends; default 0. */
  readonly eavesdropperFraction?: number;
  /** Capacity of the store for each direction, in keys of 32 bytes; default 1024. */
  readonly storeKeysPerDirection?: number;
  /**
   * What happens when both directions are full: `pause` (default) stands the
   * link still, at no cost, until key is drawn; `drop` lets it run, so that its
   * error rate stays visible, and drops the key.
   */
  readonly surplus?: Surplus;
  /** Allows key managers on addresses that other machines can reach. Simulated key protects nothing. */
  readonly unsafeExpose?: boolean;
  /** Of the key managers and of the link's pacing; default the machine's. */
  readonly clock?: Clock;
  /** Default: a worker thread. */
  readonly createLink?: (config: LinkConfig, options: LinkRunnerOptions) => SimulatedLink;
}

/** What the simulator needs of a running link; see `LinkRunner`. */
export interface SimulatedLink {
  start(): Promise<void>;
  setEavesdropper(interceptFraction: number): void;
  /** The link stands still, at no cost, until `heal()`. */
  cut(): void;
  heal(): void;
  stop(): Promise<void>;
}
/** Levels of the two directions, `a` being the first key manager's end. */
export interface StoreLevels {
  readonly aToB: StoreLevel;
  readonly bToA: StoreLevel;
}

export type SimulatorEvent =
  | { readonly type: 'progress'; readonly progress: BlockProgress }
  | {
      readonly type: 'block';
      readonly report: BlockReport;
      readonly storedBytes: number;
      readonly droppedBytes: number;
    }
  | { readonly type: 'stores'; readonly levels: StoreLevels }
  | { readonly type: 'link'; readonly state: LinkState }
  | { readonly type: 'warning'; readonly message: string }
  | KmeEvent;

/** `paused`: the stores are full. `cut`: no light gets through. */
export type LinkState = 'running' | 'paused' | 'cut' | 'failed';

export interface SimulatedKme {
  readonly kmeId: string;
  readonly saeIds: readonly string[];
  readonly host: string;
  /** Of 004. */
  readonly port: number;
  /** Of 014 and SKIP. */
  readonly httpsPort: number;
  /** `etsi004://HOST:PORT`. */
  readonly etsi004: string;
  /** `etsi014://HOST:PORT`. */
  readonly etsi014: string;
  /** `skip://HOST:PORT`. */
  readonly skip: string;
  /** As after a crash without memory: connections break, streams and undelivered keys are gone. */
  restart(): void;
}

export interface SimulatorStatus {
  readonly lengthKm: number;
  /** Simulated seconds per wall second. */
  readonly speed: number;
  readonly eavesdropperFraction: number;
  readonly link: LinkState;
  /** Simulated time so far. */
  readonly linkSeconds: number;
  readonly blocks: number;
  readonly abortedBlocks: number;
  /** Key that went into the stores, and that found no room, since the start. */
  readonly storedBytes: number;
  readonly droppedBytes: number;
  readonly lastBlock?: BlockReport;
  readonly stores: StoreLevels;
}

/** A running link with a key manager at each end. */
export interface Simulator {
  readonly kmes: readonly [SimulatedKme, SimulatedKme];
  /** Resolves when key is there for both directions; rejects with `SimError` if the link fails or the simulator is closed first. */
  readonly firstKeys: Promise<void>;
  /** What the link is expected to do with the options that it was started with. */
  readonly forecast: LinkForecast;
  /** Resolves if the simulation of the link dies. The key managers go on with what is in the stores. */
  readonly failure: Promise<SimError>;
  status(): SimulatorStatus;
  /** Calls back for every event; returns the unsubscriber. */
  subscribe(listener: (event: SimulatorEvent) => void): () => void;
  /** From now on, in mid-block too. `fraction` 0 to 1. */
  setEavesdropper(fraction: number): void;
  cutFibre(): void;
  heal(): void;
  /** From now on: what happens when the stores are full. */
  setSurplus(surplus: Surplus): void;
  /** Ends servers, connections, worker and timers, and wipes all key. Idempotent. */
  close(): Promise<void>;
}
