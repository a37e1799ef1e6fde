import { BlockList, isIP } from 'node:net';
import { SimError, SimErrorCode } from './errors.ts';
import { forecastOf, type LinkForecast } from './forecast.ts';
import { systemClock } from './kernel/clock.ts';
import { type KeyPurpose, Kme, type KmeEvent } from './kme/index.ts';
import { type LinkEvent, LinkRunner } from './link/link-runner.ts';
import type { BlockReport, LinkConfig } from './link/link-types.ts';
import type {
  LinkState,
  SimulatedKme,
  SimulatedKmeOptions,
  SimulatedLink,
  Simulator,
  SimulatorEvent,
  SimulatorOptions,
  SimulatorStatus,
  StoreLevels,
  Surplus,
} from './simulator-types.ts';
import { createLinkStores, type LinkStores } from './stores/index.ts';

/** Size of the keys in which stores are measured. */
export const STORE_KEY_BYTES = 32;
const DEFAULT_STORE_KEYS = 1024;
/** A paused link runs again when a direction has less than this share of its capacity. */
const RESUME_BELOW = 0.9;

/**
 * Starts a QKD link with a key manager at each end.
 *
 * @throws SimError `ERR_SIM_CONFIG`, `ERR_SIM_EXPOSED`, `ERR_SIM_LISTEN` or `ERR_SIM_LINK_FAILED`; nothing is left running then.
 */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  checkOptions(options);
  const simulator = newSimulator(options);
  try {
    await simulator.start();
  } catch (error) {
    await simulator.close();
    throw error;
  }
  return simulator;
}

function newSimulator(options: SimulatorOptions): RunningSimulator {
  try {
    return new RunningSimulator(options);
  } catch (error) {
    // What the link itself refuses.
    if (!(error instanceof RangeError)) throw error;
    throw new SimError(SimErrorCode.config, error.message, { cause: error });
  }
}

class RunningSimulator implements Simulator {
  readonly firstKeys: Promise<void>;
  readonly failure: Promise<SimError>;
  readonly forecast: LinkForecast;
  readonly #options: SimulatorOptions;
  readonly #stores: LinkStores<KeyPurpose>;
  readonly #managers: readonly [Kme, Kme];
  readonly #link: SimulatedLink;
  readonly #listeners = new Set<(event: SimulatorEvent) => void>();
  #kmes: readonly [SimulatedKme, SimulatedKme] | undefined;
  #reportFailure: (error: SimError) => void = () => {};
  readonly #settleFirstKeys: { resolve: () => void; reject: (error: SimError) => void };
  #state: LinkState = 'running';
  #fibreIsCut = false;
  #storesAreFull = false;
  #surplus: Surplus;
  #eavesdropperFraction: number;
  #linkSeconds = 0;
  #lastBlock: BlockReport | undefined;
  readonly #totals = { blocks: 0, abortedBlocks: 0, storedBytes: 0, droppedBytes: 0 };
  #closing: Promise<void> | undefined;

  constructor(options: SimulatorOptions) {
    const { clock = systemClock } = options;
    this.#options = options;
    this.forecast = forecastOf(linkConfig(options));
    this.#eavesdropperFraction = options.eavesdropperFraction ?? 0;
    this.#surplus = options.surplus ?? 'pause';
    let settle: { resolve: () => void; reject: (error: SimError) => void } | undefined;
    this.firstKeys = new Promise<void>((resolve, reject) => {
      settle = { resolve, reject };
    });
    this.failure = new Promise((resolve) => {
      this.#reportFailure = resolve;
    });
    // Not everybody waits for the first keys.
    this.firstKeys.catch(() => {});
    this.#settleFirstKeys = settle as unknown as { resolve: () => void; reject: (error: SimError) => void };
    this.#stores = createLinkStores<KeyPurpose>({
      capacityBytesPerDirection: STORE_KEY_BYTES * (options.storeKeysPerDirection ?? DEFAULT_STORE_KEYS),
      clock,
    });
    const [a, b] = options.kmes.map(
      (kme) =>
        new Kme({
          kmeId: kme.kmeId,
          saeIds: kme.saeIds,
          tls: kme.tls,
          clock,
          onEvent: (event) => this.#onKmeEvent(event),
          ...(kme.settings === undefined ? {} : { settings: kme.settings }),
        }),
    ) as [Kme, Kme];
    this.#managers = [a, b];
    a.addPeer({ kmeId: b.kmeId, saeIds: b.saeIds, supply: this.#stores.a, port: b.portFor(a.kmeId) });
    b.addPeer({ kmeId: a.kmeId, saeIds: a.saeIds, supply: this.#stores.b, port: a.portFor(b.kmeId) });
    const createLink = options.createLink ?? ((config, runnerOptions) => new LinkRunner(config, runnerOptions));
    this.#link = createLink(linkConfig(options), {
      speed: options.speed ?? 1,
      clock,
      onEvent: (event) => this.#onLinkEvent(event),
    });
  }

  get kmes(): readonly [SimulatedKme, SimulatedKme] {
    if (this.#kmes === undefined) throw new SimError(SimErrorCode.closed, 'the key managers have not started');
    return this.#kmes;
  }

  async start(): Promise<void> {
    const [a, b] = this.#options.kmes;
    this.#kmes = [await this.#listen(this.#managers[0], a), await this.#listen(this.#managers[1], b)];
    try {
      await this.#link.start();
    } catch (error) {
      throw new SimError(SimErrorCode.linkFailed, 'the link did not start', { cause: error });
    }
  }

  status(): SimulatorStatus {
    return {
      lengthKm: this.#options.lengthKm,
      speed: this.#options.speed ?? 1,
      eavesdropperFraction: this.#eavesdropperFraction,
      link: this.#state,
      linkSeconds: this.#linkSeconds,
      ...this.#totals,
      ...(this.#lastBlock === undefined ? {} : { lastBlock: this.#lastBlock }),
      stores: this.#levels(),
    };
  }

  subscribe(listener: (event: SimulatorEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setEavesdropper(fraction: number): void {
    if (!isFraction(fraction)) throw new SimError(SimErrorCode.config, 'the eavesdropper takes a fraction from 0 to 1');
    this.#eavesdropperFraction = fraction;
    this.#link.setEavesdropper(fraction);
  }

  cutFibre(): void {
    this.#fibreIsCut = true;
    this.#updateState();
  }

  heal(): void {
    this.#fibreIsCut = false;
    this.#updateState();
  }

  setSurplus(surplus: Surplus): void {
    this.#surplus = surplus;
    this.#onLevels();
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    this.#settleFirstKeys.reject(new SimError(SimErrorCode.closed, 'the simulator was closed'));
    await this.#link.stop();
    await Promise.all(this.#managers.map((kme) => kme.close()));
    this.#stores.reset();
    this.#listeners.clear();
  }

  async #listen(kme: Kme, options: SimulatedKmeOptions): Promise<SimulatedKme> {
    const { host = '127.0.0.1' } = options;
    const port = await listening(kme.kmeId, host, options.port, (wanted) => kme.listenEtsi004(host, wanted));
    const httpsPort = await listening(kme.kmeId, host, options.httpsPort, (wanted) => kme.listenHttps(host, wanted));
    const urlHost = isIP(host) === 6 ? `[${host}]` : host;
    return {
      kmeId: kme.kmeId,
      saeIds: kme.saeIds,
      host,
      port,
      httpsPort,
      etsi004: `etsi004://${urlHost}:${port}`,
      etsi014: `etsi014://${urlHost}:${httpsPort}`,
      skip: `skip://${urlHost}:${httpsPort}`,
      restart: () => kme.restart(),
    };
  }

  #onLinkEvent(event: LinkEvent): void {
    if (this.#closing !== undefined) {
      wipeKeys(event);
      return;
    }
    switch (event.type) {
      case 'progress':
        this.#linkSeconds = event.progress.linkSeconds;
        this.#emit({ type: 'progress', progress: event.progress });
        return;
      case 'block':
        this.#onBlock(event);
        return;
      case 'cut':
      case 'healed':
        return;
      case 'failed': {
        const message = `the link failed: ${event.error.message}`;
        const error = new SimError(SimErrorCode.linkFailed, message, { cause: event.error });
        this.#state = 'failed';
        this.#settleFirstKeys.reject(error);
        this.#reportFailure(error);
        this.#emit({ type: 'link', state: 'failed' });
        this.#emit({ type: 'warning', message });
        return;
      }
      default:
        event satisfies never;
    }
  }

  #onBlock(event: Extract<LinkEvent, { type: 'block' }>): void {
    const { report, aliceKey, bobKey } = event;
    this.#lastBlock = report;
    this.#linkSeconds = report.endLinkSeconds;
    this.#totals.blocks++;
    let storedBytes = 0;
    let droppedBytes = 0;
    if (aliceKey === undefined || bobKey === undefined) this.#totals.abortedBlocks++;
    else {
      const deposit = this.#stores.deposit(aliceKey, bobKey);
      storedBytes = deposit.storedAToB + deposit.storedBToA;
      droppedBytes = deposit.dropped;
    }
    wipeKeys(event);
    this.#totals.storedBytes += storedBytes;
    this.#totals.droppedBytes += droppedBytes;
    this.#emit({ type: 'block', report, storedBytes, droppedBytes });
    const { aToB, bToA } = this.#levels();
    if (aToB.availableBytes > 0 && bToA.availableBytes > 0) this.#settleFirstKeys.resolve();
    this.#onLevels();
  }

  #onKmeEvent(event: KmeEvent): void {
    this.#emit(event);
    if (event.type === 'key-delivered') this.#onLevels();
  }

  #onLevels(): void {
    const levels = this.#levels();
    this.#emit({ type: 'stores', levels });
    const lowest = Math.min(...[levels.aToB, levels.bToA].map((level) => level.availableBytes / level.capacityBytes));
    if (this.#surplus === 'pause' && this.#stores.full) this.#storesAreFull = true;
    else if (this.#surplus === 'drop' || lowest < RESUME_BELOW) this.#storesAreFull = false;
    this.#updateState();
  }

  /** A link that waits for room stands still as one with a cut fibre does. */
  #updateState(): void {
    if (this.#state === 'failed' || this.#closing !== undefined) return;
    const state = this.#fibreIsCut ? 'cut' : this.#storesAreFull ? 'paused' : 'running';
    if (state === this.#state) return;
    if (this.#state === 'running') this.#link.cut();
    else if (state === 'running') this.#link.heal();
    this.#state = state;
    this.#emit({ type: 'link', state });
  }

  #levels(): StoreLevels {
    return { aToB: this.#stores.a.level(), bToA: this.#stores.b.level() };
  }

  #emit(event: SimulatorEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}

/** The port that a key manager got. */
async function listening(
  kmeId: string,
  host: string,
  wanted: number | undefined,
  listen: (port: number) => Promise<number>,
): Promise<number> {
  const port = wanted ?? 0;
  try {
    return await listen(port);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new SimError(SimErrorCode.listen, `${kmeId} can't listen on ${host}:${port}: ${reason}`, { cause: error });
  }
}

function linkConfig(options: SimulatorOptions): LinkConfig {
  const { lengthKm, preset, seed, blockSizeBits, epsilonSecrecy, epsilonCorrectness, authReserveBits } = options;
  const fraction = options.eavesdropperFraction ?? 0;
  return {
    lengthKm,
    ...(preset === undefined ? {} : { preset }),
    ...(seed === undefined ? {} : { seed }),
    ...(blockSizeBits === undefined ? {} : { blockSizeBits }),
    ...(epsilonSecrecy === undefined ? {} : { epsilonSecrecy }),
    ...(epsilonCorrectness === undefined ? {} : { epsilonCorrectness }),
    ...(authReserveBits === undefined ? {} : { authReserveBits }),
    ...(fraction === 0 ? {} : { eavesdropper: { interceptFraction: fraction } }),
  };
}

function checkOptions(options: SimulatorOptions): void {
  const { kmes, speed = 1, eavesdropperFraction = 0, storeKeysPerDirection = DEFAULT_STORE_KEYS } = options;
  const refuse = (message: string): never => {
    throw new SimError(SimErrorCode.config, message);
  };
  if (!(speed > 0)) refuse('speed is a number above 0');
  if (!(options.lengthKm >= 0)) refuse('lengthKm is a number from 0');
  if (!isFraction(eavesdropperFraction)) refuse('the eavesdropper takes a fraction from 0 to 1');
  if (!Number.isInteger(storeKeysPerDirection) || storeKeysPerDirection < 1) refuse('a store holds at least one key');
  if (kmes[0].kmeId === kmes[1].kmeId) refuse('the two key managers need different IDs');
  const saeIds = kmes.flatMap((kme) => kme.saeIds);
  if (new Set(saeIds).size !== saeIds.length) refuse('an SAE ID stands at one key manager only');
  for (const { host = '127.0.0.1' } of kmes) {
    if (options.unsafeExpose === true || isLoopback(host)) continue;
    throw new SimError(
      SimErrorCode.exposed,
      `${host} is not a loopback address: simulated key protects nothing, so serving it to others has to be asked for`,
    );
  }
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === 'localhost' : LOOPBACK.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

function isFraction(value: number): boolean {
  return value >= 0 && value <= 1;
}

function wipeKeys(event: LinkEvent): void {
  if (event.type !== 'block') return;
  event.aliceKey?.fill(0);
  event.bobKey?.fill(0);
}
