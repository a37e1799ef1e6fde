/** The proxy as a library: run services inside another program. */
export { loadConfigFile, type ProxyConfig, parseConfig, type ServiceConfig } from './config/index.ts';
export { errorCode, ProxyError, ProxyErrorCode } from './errors.ts';
export type { KeyReport } from './key-service/key-report.ts';
export { createLineLog, createLog, type EventLog, type LogEvent, type LogLevel } from './log.ts';
export {
  type AdmittedMode,
  type ConnectionMode,
  type FallbackReason,
  type PolicySettings,
  REQUIREMENTS,
  type Requirement,
} from './policy.ts';
export { type LoadedService, type RunningProxy, type StartOptions, startServices } from './services.ts';
export type { Tunnel, TunnelLimits } from './tunnel/settings.ts';
