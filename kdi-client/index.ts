/** Key delivery: clients of ETSI GS QKD 004, 014 and SKIP, the pools of both sides, and what keeps a key from being used twice. */
export * from './clock.ts';
export * from './errors.ts';
export * from './key-source.ts';
export * from './wire/index.ts';
