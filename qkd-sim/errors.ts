/** Stable codes of what can go wrong in starting and running the simulator. Documented in docs/errors.md. */
export const SimErrorCode = {
  /** An option has a value that can't be. */
  config: 'ERR_SIM_CONFIG',
  /** Simulated key was to be served on an address that others can reach. */
  exposed: 'ERR_SIM_EXPOSED',
  /** A key manager could not listen: address in use, or not ours. */
  listen: 'ERR_SIM_LISTEN',
  /** The simulation of the link died. */
  linkFailed: 'ERR_SIM_LINK_FAILED',
  /** The simulator was closed while something waited for it. */
  closed: 'ERR_SIM_CLOSED',
} as const;
export type SimErrorCode = (typeof SimErrorCode)[keyof typeof SimErrorCode];

export class SimError extends Error {
  override readonly name = 'SimError';
  readonly code: SimErrorCode;

  constructor(code: SimErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
