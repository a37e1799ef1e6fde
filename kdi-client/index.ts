/** Key delivery: clients of ETSI GS QKD 004, 014 and SKIP, the pools of both sides, and what keeps a key from being used twice. */
export * from './clock.ts';
export { createKeySource, type KeySourceSettings } from './create-key-source.ts';
export type { KnownQuirks } from './doctor/doctor-settings.ts';
export {
  type CheckTone,
  DEFAULT_EXAMINATION_LIMITS,
  type DoctorCheck,
  type ExaminationLimits,
  type ExaminationObserver,
} from './doctor/examination.ts';
export { type ExaminedKme, examineKme, type KmeExaminationOptions, type KmeVerdict } from './doctor/examine-kme.ts';
export * from './errors.ts';
export type { Etsi004QosBounds, Etsi004QosSettings } from './etsi004/qos.ts';
export { Etsi004Source, type Etsi004SourceOptions } from './etsi004/source.ts';
export { type Etsi014Quirks, Etsi014Source, type Etsi014SourceOptions } from './etsi014/source.ts';
export { type BreakerOptions, type BreakerState, CircuitBreaker, isKmeFault } from './failover/circuit-breaker.ts';
export {
  type FailoverMember,
  FailoverSource,
  type FailoverSourceOptions,
  type KmeHealth,
} from './failover/failover-source.ts';
export type { FailoverEvent } from './failover/member.ts';
export * from './key-source.ts';
export type { KmeTls, PskTls } from './kme-tls.ts';
export * from './kme-url.ts';
export { FileLedger, type FileLedgerOptions } from './ledger/file-ledger.ts';
export {
  DEFAULT_LEDGER_RETENTION_MS,
  type LedgerUse,
  ledgerId,
  MemoryLedger,
  type MemoryLedgerOptions,
  type SpentLedger,
} from './ledger/spent-ledger.ts';
export { Answerer, type AnswererHooks, type AnswererOptions } from './pool/answerer.ts';
export * from './pool/answerer-store.ts';
export * from './pool/budget.ts';
export { type Depth, type DepthOptions, DepthPolicy, exhaustionMs, RateEstimate } from './pool/depth.ts';
export { DrawerPool } from './pool/drawer-pool.ts';
export * from './pool/drawer-pool-types.ts';
export { SkipSource, type SkipSourceOptions } from './skip/source.ts';
export * from './wire/index.ts';
