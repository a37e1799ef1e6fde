/** A TLS client that a test shapes as it likes: the engine on a socket, without a tunnel around it. */
import { randomBytes } from 'node:crypto';
import type { Credential } from '../../certs/index.ts';
import { parseCertificate } from '../../certs/index.ts';
import { type KeyEvent, TlsConnection } from '../../proxy/data-path/index.ts';
import {
  type ClientEngineOptions,
  createClientEngine,
  type HandshakeSummary,
  type PeerVerdict,
  signatureSchemes,
  signingKeyFromPkcs8,
} from '../../tls-ext/index.ts';
import { identityOf } from './pki.ts';

export interface PeerOutcome {
  readonly summary?: HandshakeSummary;
  /** Application bytes that came. */
  readonly received: Buffer;
  /** Absent: an orderly end. */
  readonly failure?: Error & { readonly code?: string; readonly alert?: number };
}

export interface PeerOptions {
  readonly credential?: Credential;
  readonly engine?: Partial<ClientEngineOptions>;
  /** Sent once the handshake is complete, and then the connection is closed for writing. */
  readonly request?: Uint8Array;
  /** Hears of tickets and rekeys; owns the secrets of the former. */
  readonly keyEvent?: (event: KeyEvent) => void;
  /** The handshake is complete. */
  readonly established?: (connection: TlsConnection) => void;
}

/** Connects, and resolves when the connection is over. Believes whatever certificate the server has. */
export function tlsPeer(address: { host: string; port: number }, options: PeerOptions = {}): Promise<PeerOutcome> {
  const identity = options.credential === undefined ? undefined : identityOf(options.credential);
  const engine = createClientEngine({
    random: randomBytes,
    groups: [0x11ec],
    cipherSuites: [0x1302],
    signatureSchemes: signatureSchemes.map(({ codePoint }) => codePoint),
    auth: 'certificate',
    ...(identity === undefined
      ? {}
      : { identity: { chain: identity.chainDer, ...signingKeyFromPkcs8(identity.privateKeyPkcs8) } }),
    ...options.engine,
  });
  return new Promise((resolve) => {
    let summary: HandshakeSummary | undefined;
    const received: Uint8Array[] = [];
    const connection = TlsConnection.dial(address, {
      engine,
      handshakeTimeoutMs: 20_000,
      handler: {
        peerCertificate: ({ chain }) => connection.provideVerdict(believe(chain)),
        handshakeComplete: (complete) => {
          summary = complete;
          const { keyEvent, established } = options;
          if (keyEvent !== undefined) connection.setKeyHandler({ keyEvent, dataAlarm: () => {} });
          connection.setDataHandler({
            plaintext: (bytes, release) => {
              received.push(Uint8Array.from(bytes));
              release?.();
            },
            readEnded: () => connection.close(),
            relieved: () => {},
            idle: () => {},
          });
          established?.(connection);
          if (options.request !== undefined) {
            connection.send(options.request);
            connection.closeWrite();
          }
        },
        ended: (failure) =>
          resolve({
            received: Buffer.concat(received),
            ...(summary === undefined ? {} : { summary }),
            ...(failure === undefined ? {} : { failure }),
          }),
      },
    });
  });
}

function believe(chain: readonly Uint8Array[]): PeerVerdict {
  return { ok: true, publicKeySpki: parseCertificate(chain[0] as Uint8Array).publicKeySpki };
}
