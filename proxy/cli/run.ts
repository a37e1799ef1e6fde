/** Runs services until a signal ends them: what `server`, `client` and `--config` have in common. */
import { checkOwnSae, loadCredentials, type ProxyConfig, type ServiceConfig } from '../config/index.ts';
import { createLog, type EventLog } from '../log.ts';
import { type KmeSettings, openLedger, toldLedger } from '../psk-resolver.ts';
import { type LoadedService, type RunningProxy, startServices } from '../services.ts';
import { loadKmeTls } from './kme-credentials.ts';

const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/**
 * Starts the services and resolves when a signal has ended them: the first one
 * drains, a second one kills. So does the end of a parent that holds an IPC channel. What happens is said in the log, on stderr.
 *
 * @throws ConfigError or CertError for unusable files; ProxyError for an address that can't be listened on.
 */
export async function runServices(config: ProxyConfig): Promise<void> {
  const log = createLog({ level: config.logLevel });
  try {
    const services: LoadedService[] = [];
    const warn = warningOnce(log);
    for (const service of config.services) services.push(await loadService(service, warn));
    const ledger = toldLedger(await openLedger(config.ledger), log);
    const proxy = await startServices(services, { log, ledger });
    await drainOnSignal(proxy, config.drainTimeoutMs, log);
  } finally {
    await log.flush();
  }
}

type Warn = (service: string, message: string) => void;

/** Several services, and their key managers, may have the same files. */
function warningOnce(log: EventLog): Warn {
  const said = new Set<string>();
  return (service, message) => {
    if (!said.has(message)) log.warn({ event: 'warning', service, message });
    said.add(message);
  };
}

async function loadService(config: ServiceConfig, warn: Warn): Promise<LoadedService> {
  const own = await loadOwn(config, warn);
  const kmes: KmeSettings[] = [];
  for (const { url, access, weight, settings } of config.kmes) {
    const { tls, warnings } = await loadKmeTls(access);
    for (const message of warnings) warn(config.name, message);
    kmes.push({ url, weight, ...settings, tls });
  }
  return { config, ...own, kmes };
}

async function loadOwn({ credentials, sae, name }: ServiceConfig, warn: Warn) {
  if (credentials === undefined) return {};
  const { identity, trust, warnings } = await loadCredentials(credentials);
  checkOwnSae(identity, sae, credentials.cert);
  for (const message of warnings) warn(name, message);
  return { identity, trust };
}

function drainOnSignal(proxy: RunningProxy, drainTimeoutMs: number, log: EventLog): Promise<void> {
  return new Promise((resolve, reject) => {
    const first = (signal: NodeJS.Signals | 'disconnect') => {
      process.off('disconnect', onDisconnect);
      for (const name of STOP_SIGNALS) process.off(name, first);
      for (const name of STOP_SIGNALS) process.on(name, second);
      const connections = proxy.tunnels.reduce((sum, tunnel) => sum + tunnel.connectionCount, 0);
      const drained = proxy.drain(drainTimeoutMs);
      // Said once nothing is accepted any more.
      log.info({ event: 'draining', signal, connections });
      drained
        .then((connectionsCut) => {
          log.info({ event: 'stopped', connectionsCut });
          for (const name of STOP_SIGNALS) process.off(name, second);
          resolve();
        })
        .catch(reject);
    };
    // Started by a Node process with an IPC channel: when that one is gone, however it ended, so are we.
    const onDisconnect = () => first('disconnect');
    const second = (signal: NodeJS.Signals) => {
      process.off(signal, second);
      // With the default action back in place the same signal ends the process at once.
      void log.flush().then(() => process.kill(process.pid, signal));
    };
    for (const name of STOP_SIGNALS) process.on(name, first);
    process.once('disconnect', onDisconnect);
    // `false`, unlike `undefined`: there was a channel, and it ended while we were starting.
    if (process.connected === false) onDisconnect();
    process.channel?.unref();
  });
}
