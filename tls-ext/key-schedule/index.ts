export { exportKeyingMaterial } from './exporter.ts';
export {
  finishedVerifyData,
  pskBinder,
  type RekeyParty,
  rekeyConfirmation,
  verifyFinished,
  verifyPskBinder,
  verifyRekeyConfirmation,
} from './finished.ts';
export {
  decodeImportedIdentity,
  encodeImportedIdentity,
  hashOfTargetKdf,
  type ImportedIdentity,
  type ImportedPsk,
  type ImportInput,
  importPsk,
  isImportedIdentity,
  TARGET_PROTOCOL_TLS13,
  TargetKdf,
  targetKdfOf,
} from './importer.ts';
export { EarlySecret, HandshakeSecret, MainSecret, type PskKind } from './key-schedule.ts';
export type {
  ApplicationTrafficSecret,
  BinderKey,
  ClientApplicationTrafficSecret,
  ClientHandshakeTrafficSecret,
  ExporterSecret,
  HandshakeTrafficSecret,
  ResumptionSecret,
  ServerApplicationTrafficSecret,
  ServerHandshakeTrafficSecret,
  TrafficSecret,
} from './secrets.ts';
export { deriveTrafficKeys, nextTrafficSecret, resumptionPsk, type TrafficKeys } from './traffic-keys.ts';
