/** A client and a server tunnel under test: plain TCP in at `port`, TLS between the two, plain TCP out to the backend. */
export interface RunningPair {
  /** Where applications connect, on 127.0.0.1. */
  readonly port: number;
  /** The processes whose CPU time counts. */
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/** `resumption`: mutual certificates once, then tickets. */
export type HandshakeKind = 'certificate' | 'psk' | 'resumption';

export interface PairOptions {
  readonly backendPort: number;
  readonly materials: Materials;
  /** How connections authenticate. `certificate` is mutual. */
  readonly handshake: HandshakeKind;
  /** How many will be made, at most: for pools that are filled beforehand. */
  readonly connections: number;
}

export interface Pair {
  readonly name: string;
  /** Name and version of the software that was measured. */
  version(): string;
  start(options: PairOptions): Promise<RunningPair>;
}

/** Certificates and PSK that every pair shares, so that each does the same cryptography. */
export interface Materials {
  readonly folder: string;
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
  readonly pskIdentity: string;
  readonly pskHex: string;
}
