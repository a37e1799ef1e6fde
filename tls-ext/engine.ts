/** The engine's two entrances. Everything behind them is sans-io: see `TlsEngine`. */
import type { ClientEngineOptions, ServerEngineOptions, TlsEngine } from './engine-types.ts';
import { clientHandshake } from './handshake/client-handshake.ts';
import { serverHandshake } from './handshake/server-handshake.ts';
import { TlsEndpoint } from './tls-endpoint.ts';

/** A client's end of one connection. Takes ownership of the PSK's secret. Misused options throw `TlsMisuseError` in `start`. */
export function createClientEngine(options: ClientEngineOptions): TlsEngine {
  return new TlsEndpoint('client', options, (wire) => clientHandshake(wire, options));
}

/** A server's end of one connection. Misused options throw `TlsMisuseError` in `start`. */
export function createServerEngine(options: ServerEngineOptions): TlsEngine {
  return new TlsEndpoint('server', options, (wire) => serverHandshake(wire, options));
}
