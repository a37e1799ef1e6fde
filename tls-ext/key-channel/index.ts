export { KeyChannelAnswerer } from './answerer.ts';
export { helloOverdue } from './channel-connection.ts';
export { type CheckValues, deriveCheckValues } from './check-value.ts';
export { KeyChannelDrawer } from './drawer.ts';
export * from './errors.ts';
export { MessageFramer } from './framing.ts';
export { DrawerGreeting, type GreetingFailure } from './greeting.ts';
export {
  HELLO_TIMEOUT_MS,
  INSTANCE_BYTES,
  KSID_BYTES,
  MAX_KEY_TTL_SECONDS,
  MAX_KEYS_PER_BATCH,
  MAX_QUOTA,
} from './limits.ts';
export { decodeMessage, encodeMessage } from './message-codec.ts';
export type * from './messages.ts';
export { referenceId } from './reference-id.ts';
export * from './types.ts';
