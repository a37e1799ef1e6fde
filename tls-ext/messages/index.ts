export * from './certificate.ts';
export * from './certificate-request.ts';
export * from './certificate-verify.ts';
export * from './client-hello.ts';
export * from './encrypted-extensions.ts';
export {
  defaultCodePoints,
  type Extension,
  type ExtensionCodePoints,
} from './extension-block.ts';
export * from './extension-type.ts';
export * from './finished.ts';
export * from './handshake-type.ts';
export { decodeQkdKeyReference, encodeQkdKeyReference } from './key-reference.ts';
export type { KeyShareEntry } from './key-share.ts';
export * from './key-update.ts';
export { maxMessageBytes } from './limits.ts';
export { ProtocolVersion, PskKeyExchangeMode } from './negotiation-extensions.ts';
export * from './new-session-ticket.ts';
export { bindersLengthBytes, fillBinders, type OfferedPsks } from './pre-shared-key.ts';
export { decodeQkdPskContext, encodeQkdPskContext } from './psk-context.ts';
export {
  QKD_PSK_DRAFT_VERSION,
  QkdFeature,
} from './qkd-psk.ts';
export * from './rekey.ts';
export * from './server-hello.ts';
