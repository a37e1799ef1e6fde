/** Two proxies in this process, an application behind one of them, and the log of both. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../kdi-client/index.ts';
import type { ServiceConfig } from '../../proxy/config/index.ts';
import { createLineLog, type EventLog, type LogEvent } from '../../proxy/log.ts';
import { type LoadedService, type RunningProxy, startServices } from '../../proxy/services.ts';
import { DEFAULT_REKEY_AFTER } from '../../proxy/tunnel/key-budget.ts';
import { DEFAULT_LIMITS } from '../../proxy/tunnel/settings.ts';
import { identityOf, siteCredential, testPki } from './pki.ts';

export type LogLine = LogEvent & { readonly level: string; readonly time: string };

/** A log that can be waited on. */
export class CapturedLog {
  readonly lines: LogLine[] = [];
  readonly log: EventLog;
  readonly #waiting = new Set<() => void>();

  constructor() {
    this.log = createLineLog((line) => {
      this.lines.push(JSON.parse(line));
      for (const look of [...this.#waiting]) look();
    });
  }

  all<E extends LogEvent['event']>(event: E): Extract<LogLine, { event: E }>[] {
    return this.lines.filter((line): line is Extract<LogLine, { event: E }> => line.event === event);
  }

  /** The `count`th line of this event that fits, now or when it comes. */
  async next<E extends LogEvent['event']>(
    event: E,
    fits: (line: Extract<LogLine, { event: E }>) => boolean = () => true,
    count = 1,
  ): Promise<Extract<LogLine, { event: E }>> {
    return await new Promise((resolve) => {
      const look = () => {
        const found = this.all(event).filter(fits)[count - 1];
        if (found === undefined) return;
        this.#waiting.delete(look);
        resolve(found);
      };
      this.#waiting.add(look);
      look();
    });
  }
}

export type ServiceOverrides = Partial<ServiceConfig> & Pick<ServiceConfig, 'mode' | 'connect'>;

/** A service with everything filled in: SAE siteA is the client, siteB the server. */
export async function loadedService(overrides: ServiceOverrides): Promise<LoadedService> {
  const [sae, peer] = overrides.mode === 'client' ? ['siteA', 'siteB'] : ['siteB', 'siteA'];
  const { trust, ca } = await testPki();
  const credential = await siteCredential(sae as string);
  const config: ServiceConfig = {
    name: overrides.mode,
    accept: { host: '127.0.0.1', port: 0 },
    sae: sae as string,
    peerSae: [peer as string],
    auth: 'certificate',
    requireAuth: 'any',
    credentials: { cert: '', key: '', ca: '' },
    kmes: [],
    kmeChoose: 'ordered',
    kmeFailBackMs: 60_000,
    keysAhead: 4,
    keysAheadMax: 4,
    keyTtlMs: 3_600_000,
    policy: { require: 'qkd-or-pqc', unsafeAllowClassical: false, keyWaitMs: 5_000 },
    rekeyAfter: DEFAULT_REKEY_AFTER,
    tickets: 0,
    limits: DEFAULT_LIMITS,
    groups: ['X25519MLKEM768'],
    cipherSuites: ['TLS_AES_256_GCM_SHA384', 'TLS_AES_128_GCM_SHA256'],
    unsafeAllowSimulated: false,
    provenance: { unknown: 'allow' },
    budget: { reserve: 0, horizonMs: 60_000 },
    ...overrides,
  };
  return {
    config,
    identity: identityOf(credential),
    trust,
    kmes: config.kmes.map(({ url, weight, settings }) => ({
      url,
      weight,
      ...settings,
      tls: { cert: credential.certPem, key: credential.keyPem, ca: ca.certPem },
    })),
  };
}

/** A TCP application: listens on loopback, and ends with the test. */
export class TestApplication {
  readonly server: Server;
  readonly sockets = new Set<Socket>();

  constructor(onConnection: (socket: Socket) => void) {
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => this.sockets.delete(socket));
      onConnection(socket);
    });
  }

  static async echo(): Promise<TestApplication> {
    return await new TestApplication((socket) => socket.pipe(socket)).listen();
  }

  async listen(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    return this;
  }

  get address(): { host: string; port: number } {
    return { host: '127.0.0.1', port: (this.server.address() as AddressInfo).port };
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** All that comes until the end. Unlike an iterator it leaves the socket open for writing. */
export function collect(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  return new Promise((resolve, reject) => {
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.once('end', () => resolve(Buffer.concat(parts)));
    socket.once('close', () => reject(new Error('closed without an end')));
  });
}

export interface TwoSites {
  readonly client: RunningProxy;
  readonly server: RunningProxy;
  readonly clientLog: CapturedLog;
  readonly serverLog: CapturedLog;
  /** Where applications connect. */
  readonly entrance: { host: string; port: number };
  /** Where the client proxy connects. */
  readonly tunnelPort: { host: string; port: number };
  close(): Promise<void>;
}

export interface SiteSettings {
  readonly backend: ServiceConfig['connect'];
  readonly client?: Partial<ServiceConfig>;
  readonly server?: Partial<ServiceConfig>;
  readonly clientService?: Partial<LoadedService>;
  readonly serverService?: Partial<LoadedService>;
  readonly clock?: Clock;
}

/** Time of key delivery passes faster by this factor: pauses after faults are seconds in truth. */
export function fastClock(factor: number): Clock {
  return {
    now: () => performance.now() * factor,
    schedule: (callback, delayMs) => {
      const timer = setTimeout(callback, delayMs / factor);
      return () => clearTimeout(timer);
    },
  };
}

/** Starts both proxies. */
export async function startSites(settings: SiteSettings): Promise<TwoSites> {
  const clock = settings.clock === undefined ? {} : { clock: settings.clock };
  const serverLog = new CapturedLog();
  const clientLog = new CapturedLog();
  const serverService = await loadedService({ mode: 'server', connect: settings.backend, ...settings.server });
  const server = await startServices([{ ...serverService, ...settings.serverService }], {
    log: serverLog.log,
    ...clock,
  });
  const tunnelPort = server.tunnels[0]?.address as { host: string; port: number };
  const clientService = await loadedService({ mode: 'client', connect: tunnelPort, ...settings.client });
  const client = await startServices([{ ...clientService, ...settings.clientService }], {
    log: clientLog.log,
    ...clock,
  });
  return {
    client,
    server,
    clientLog,
    serverLog,
    entrance: client.tunnels[0]?.address as { host: string; port: number },
    tunnelPort,
    close: async () => {
      await client.close();
      await server.close();
    },
  };
}
