/** Our engine, set up like the OpenSSL beside it. */
import { concatBytes } from '../../tls-ext/bytes/index.ts';
import { createServerEngine, type EngineEvent, signatureSchemes } from '../../tls-ext/index.ts';
import { random } from '../tls-ext/engine/engine-pair.ts';
import { ALPN, identityOf, serverCredential } from './credentials.ts';

const identity = identityOf(serverCredential);

export interface OurAnswer {
  readonly bytes: Uint8Array;
  /** The error's message; absent if there is none. */
  readonly reason: string | undefined;
}

export function askOurs(input: Uint8Array): OurAnswer {
  const engine = createServerEngine({
    random,
    groups: [0x001d, 0x0017],
    cipherSuites: [0x1302, 0x1301, 0x1303],
    signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
    alpnProtocols: [ALPN],
    auth: 'certificate',
    identity,
    requestClientCertificate: false,
    qkd: false,
  });
  const events: EngineEvent[] = [...engine.start(), ...engine.receive(input), ...engine.receiveEnd()];
  const written = events.flatMap((event) => (event.type === 'write' ? [event.bytes] : []));
  const failed = events.find((event) => event.type === 'failed');
  engine.destroy();
  return { bytes: concatBytes(...written), reason: failed?.type === 'failed' ? failed.error.message : undefined };
}
