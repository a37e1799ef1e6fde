/** Key delivery: clients of ETSI GS QKD 004, 014 and SKIP, the pools of both sides, and what keeps a key from being used twice. */
export * from './clock.ts';
export * from './errors.ts';
export type { Etsi004QosBounds, Etsi004QosSettings } from './etsi004/qos.ts';
export { Etsi004Source, type Etsi004SourceOptions } from './etsi004/source.ts';
export { type Etsi014Quirks, Etsi014Source, type Etsi014SourceOptions } from './etsi014/source.ts';
export * from './key-source.ts';
export type { KmeTls, PskTls } from './kme-tls.ts';
export * from './kme-url.ts';
export { Answerer, type AnswererHooks, type AnswererOptions } from './pool/answerer.ts';
export * from './pool/answerer-store.ts';
export { DrawerPool, type TakeOptions, type TakeWithinOptions } from './pool/drawer-pool.ts';
export * from './pool/drawer-pool-types.ts';
export { SkipSource, type SkipSourceOptions } from './skip/source.ts';
export * from './wire/index.ts';
