/** What the program is told to do: from YAML files and from the command line, by one schema. */
export { isLocalAddress, parseAddress } from './address.ts';
export { configFromOptions, keyManagerOptions, serviceOptions } from './cli-options.ts';
export { ConfigError, ConfigErrorCode, type ConfigProblem } from './config-error.ts';
export { loadConfigFile, parseConfig } from './config-file.ts';
export { checkOwnSae, loadCredentials, loadPsk } from './credentials.ts';
export { DURATION_FORM, parseDuration } from './duration.ts';
export { type CipherSuiteName, configJsonSchema, type GroupName, MAX_PEER_SAES, MAX_SERVICES } from './schema.ts';
export type { KmeAccess, KmeConfig, ProxyConfig, ServiceConfig } from './service-config.ts';
export { readTextFile, systemReason, UnreadableFile } from './text-file.ts';
