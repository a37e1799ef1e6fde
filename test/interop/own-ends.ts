/** Our two ends with each other over a socket, for the same choices as any peer. */
import { createClientEngine, createServerEngine, type ResumptionPsk } from '../../tls-ext/index.ts';
import { allValues, type Choice, type Feature } from './axes.ts';
import type { Credentials } from './credentials.ts';
import { connectEngine, type EngineSocket, listenEngine } from './engine-socket.ts';
import { expectNegotiated, isRetried } from './negotiated.ts';
import { isImported, ourClient, ourServer, pskFor } from './our-end.ts';
import { ourPsk } from './peer.ts';
import { someText, TRANSFER_BYTES, withKeyUpdates } from './talk.ts';

const TICKET_HANDLE = new Uint8Array(16).fill(0x74);
const RECORDS_OVER_A_KEY_UPDATE = 45;

/** Resolves if both ends agree and data goes both ways as the feature says. */
export async function runOwnEnds(credentials: Credentials, choice: Choice): Promise<void> {
  let ticket: ResumptionPsk | undefined;
  const listener = await listenEngine(
    () => createServerEngine({ ...ourServer(credentials, choice), qkd: isImported(choice.feature) }),
    {
      ca: credentials.ca,
      psk: () => {
        if (choice.feature !== 'resumption') return { action: 'use', psk: pskFor(choice.feature, ourPsk) };
        return ticket ? { action: 'use', psk: ticket } : { action: 'continue', result: 'unavailable' };
      },
    },
  );
  const other = allValues.group.find((group) => group !== choice.group) as string;
  const groups = isRetried(choice) ? [other, choice.group] : [choice.group];
  const connect = async (after: number, offered?: ResumptionPsk) => {
    const options = ourClient(credentials, choice, groups, ourPsk, offered);
    const engine = createClientEngine(
      isImported(choice.feature) ? { ...options, qkdOffer: { offer: 'key' } } : options,
    );
    const client = await connectEngine(listener.port, engine, { ca: credentials.ca });
    const server = await listener.accepted(after);
    expectNegotiated(choice, 'client', await client.handshake(), offered !== undefined);
    expectNegotiated(choice, 'server', await server.handshake(), offered !== undefined);
    return { client, server };
  };
  const clients: EngineSocket[] = [];
  try {
    const { client, server } = await connect(0);
    clients.push(client);
    if (choice.feature === 'resumption') {
      ticket = server.issueTicket(TICKET_HANDLE);
      await client.until(() => client.tickets.length > 0);
      const [issued] = client.tickets as [EngineSocket['tickets'][number]];
      const second = await connect(1, { ...issued.psk, obfuscatedTicketAge: issued.ageAdd });
      clients.push(second.client);
      await converse('certificate', second.client, second.server);
    } else {
      await withKeyUpdates(choice, () => converse(choice.feature, client, server));
    }
  } finally {
    for (const client of clients) client.destroy();
    listener.close();
  }
}

async function converse(feature: Feature, client: EngineSocket, server: EngineSocket): Promise<void> {
  switch (feature) {
    case 'large-transfer':
      await pass(client, server, TRANSFER_BYTES);
      return pass(server, client, TRANSFER_BYTES);
    case 'key-update-ours':
    case 'key-update-theirs': {
      const [from, to] = feature === 'key-update-ours' ? [client, server] : [server, client];
      for (let i = 0; i < RECORDS_OVER_A_KEY_UPDATE; i++) await pass(from, to, 20);
      return pass(to, from, 40);
    }
    case 'half-close-ours':
    case 'half-close-theirs': {
      const [closing, other] = feature === 'half-close-ours' ? [client, server] : [server, client];
      closing.closeWrite();
      await other.until(() => other.peerClosed);
      return pass(other, closing, TRANSFER_BYTES);
    }
    default:
      await pass(client, server, 40);
      return pass(server, client, 40);
  }
}

async function pass(from: EngineSocket, to: EngineSocket, lengthBytes: number): Promise<void> {
  const [text, before] = [someText(lengthBytes), to.receivedBytes];
  from.send(text);
  await to.until(() => to.receivedBytes === before + lengthBytes);
  if (!to.text().endsWith(text)) throw new Error('something else arrived');
}
