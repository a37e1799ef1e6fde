/** Our engine as a client, set up like the OpenSSL beside it. */
import { X509Certificate } from 'node:crypto';
import { concatBytes, SecretBytes } from '../../tls-ext/bytes/index.ts';
import { Alert, createClientEngine, type PeerVerdict, signatureSchemes } from '../../tls-ext/index.ts';
import { random, Side } from '../tls-ext/engine/engine-pair.ts';
import type { Script } from '../tls-ext/misbehaving/scripts.ts';
import type { Answer } from './compare.ts';
import { ALPN, clientCredential, identityOf } from './credentials.ts';
import { clientOutcome } from './outcome.ts';
import { ScriptedServer } from './scripted-server.ts';
import { DATA, PSK, PSK_IDENTITY } from './server-scripts.ts';

const identity = identityOf(clientCredential);

/** No chain is judged, as in Node, which judges it when the handshake is over: it is TLS that is compared. */
function verdict({ chain }: { readonly chain: readonly Uint8Array[] }): PeerVerdict {
  try {
    const { publicKey } = new X509Certificate(chain[0] as Uint8Array);
    return { ok: true, publicKeySpki: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })) };
  } catch (error) {
    return { ok: false, alert: Alert.badCertificate, error: error as Error };
  }
}

export function askOurClient(script: Script, psk: boolean): Answer {
  const engine = createClientEngine({
    random,
    groups: [0x001d, 0x0017],
    cipherSuites: [0x1302, 0x1301, 0x1303],
    signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
    alpnProtocols: [ALPN],
    serverName: 'server.example',
    identity,
    auth: psk ? 'psk' : 'certificate',
    ...(psk ? { psk: { kind: 'plain', identity: PSK_IDENTITY, secret: new SecretBytes(PSK.slice()) } } : {}),
    grease: false,
    ticketRequest: { newSessionCount: 2, resumptionCount: 1 },
  });
  const side = new Side(engine, { verdict });
  const server = new ScriptedServer(script);
  side.take(engine.start());
  for (let written = true; written; ) {
    const records = server.advance(concatBytes(...side.outbox.splice(0)));
    for (const bytes of records) side.take(engine.receive(bytes));
    written = side.outbox.length > 0;
  }
  server.alert();
  side.take(engine.receiveEnd());
  engine.destroy();
  const { error } = side;
  // A fault of ours is in the error, whoever can read the alert; what is no fault has none.
  const alert = error === undefined || isSilent(error.code) ? undefined : error.alert;
  return { outcome: clientOutcome(alert, side.received, DATA), reason: error?.message };
}

const isSilent = (code: string) => code === 'ERR_TLS_TRUNCATED' || code === 'ERR_TLS_PEER_ALERT';
