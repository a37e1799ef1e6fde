export { exportKeyingMaterial } from './exporter.ts';
export {
  finishedVerifyData,
  pskBinder,
  rekeyConfirmation,
  verifyFinished,
  verifyPskBinder,
  verifyRekeyConfirmation,
} from './finished.ts';
export {
  decodeImportedIdentity,
  encodeImportedIdentity,
  type ImportedPsk,
  importPsk,
  isImportedIdentity,
  TARGET_PROTOCOL_TLS13,
  targetKdfOf,
} from './importer.ts';
export { EarlySecret, HandshakeSecret, MainSecret, type PskKind } from './key-schedule.ts';
export type {
  ApplicationTrafficSecret,
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
