/** The two sites of the demo: certificates, and a proxy on each with a tap on the line between. */
import { createCa, issueLeaf, writeCredential } from '../../certs/index.ts';
import type { Simulator } from '../../qkd-sim/index.ts';
import { ownCommand } from '../own-command.ts';
import type { TemporaryFolder } from '../temporary-folder.ts';
import { ChildProxy } from './child-proxy.ts';
import type { LegacyApp } from './legacy-apps.ts';
import { type SiteConfig, yamlOf } from './site-configs.ts';
import { Tap } from './tap.ts';
import type { DemoView } from './view.ts';

export const SAE_A = 'siteA';
export const SAE_B = 'siteB';
/** Services of the demo: which application is behind each, and what it requires. */
export const SERVICES = [
  { name: 'records', app: 'http', require: 'qkd-or-pqc' },
  { name: 'telemetry', app: 'tcp', require: 'qkd-or-pqc' },
  { name: 'control', app: 'tcp', require: 'qkd' },
] as const;
export type ServiceName = (typeof SERVICES)[number]['name'];

/** Steps of the clean-up, undone in reverse order. */
export type CleanUps = (() => Promise<void> | void)[];

export type Pki = Awaited<ReturnType<typeof makeCertificates>>;

/** A throwaway CA and a day's certificates: files for the proxies, in memory for the key managers. */
export async function makeCertificates(folder: string) {
  const nowMs = Date.now();
  const ca = await createCa({ commonName: 'qstunnel demo CA', nowMs });
  const { cert: caFile } = await writeCredential(folder, 'ca', ca);
  const local = { nowMs, validityDays: 1, dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] };
  const kme = async (name: string) => {
    const { certPem, keyPem } = await issueLeaf(ca, 'kme', { ...local, commonName: name });
    return { cert: certPem, key: keyPem, ca: ca.certPem };
  };
  const proxy = async (name: string, saeId: string) =>
    writeCredential(folder, name, await issueLeaf(ca, 'proxy', { ...local, commonName: name, saeIds: [saeId] }));
  return {
    ca: caFile,
    kmeA: await kme('kme-a'),
    kmeB: await kme('kme-b'),
    proxyA: await proxy('proxy-a', SAE_A),
    proxyB: await proxy('proxy-b', SAE_B),
  };
}

/** The server proxy, a tap in front of each of its services, and the client proxy that dials the taps. */
export async function startSites(
  workspace: TemporaryFolder,
  pki: Pki,
  simulator: Simulator,
  apps: Readonly<Record<'http' | 'tcp', LegacyApp>>,
  view: DemoView,
  cleanUps: CleanUps,
) {
  const run = (name: string, file: string) => {
    view.line(`$ ${ownCommand()} --config ${file}`);
    const proxy = new ChildProxy(name, ['--config', file]);
    cleanUps.push(() => proxy.stop());
    return proxy;
  };
  const site = (end: 0 | 1, connectOf: (service: (typeof SERVICES)[number]) => number): SiteConfig => ({
    sae: end === 0 ? SAE_A : SAE_B,
    peerSae: end === 0 ? SAE_B : SAE_A,
    ...(end === 0 ? pki.proxyA : pki.proxyB),
    ca: pki.ca,
    kme: simulator.kmes[end].etsi004,
    services: SERVICES.map((service) => ({
      name: service.name,
      require: service.require,
      connect: `127.0.0.1:${connectOf(service)}`,
    })),
  });
  const serverFile = workspace.write(
    'site-b.yaml',
    yamlOf(
      'server',
      site(1, ({ app }) => apps[app].port),
    ),
  );
  const server = run('server', serverFile);
  const tapPorts: Record<string, number> = {};
  const taps: Tap[] = [];
  for (const { name } of SERVICES) {
    const tap = await Tap.open(await portOf(server, name));
    cleanUps.push(() => tap.close());
    taps.push(tap);
    tapPorts[name] = tap.port;
  }
  const clientFile = workspace.write(
    'site-a.yaml',
    yamlOf(
      'client',
      site(0, ({ name }) => tapPorts[name] as number),
    ),
  );
  const client = run('client', clientFile);
  const ports: Partial<Record<ServiceName, number>> = {};
  for (const { name } of SERVICES) ports[name] = await portOf(client, name);
  return {
    server,
    client,
    taps,
    ports: ports as Record<ServiceName, number>,
    tunnelPorts: Object.fromEntries(Object.entries(tapPorts).map(([name, port]) => [`tunnel-${name}`, port])),
    files: { 'site-a.yaml': clientFile, 'site-b.yaml': serverFile },
  };
}

async function portOf(proxy: ChildProxy, service: string): Promise<number> {
  const { address } = await proxy.event('listening', (event) => event.service === service);
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
