/** What the program is told to do: from YAML files and from the command line, by one schema. */
export { ADDRESS_FORMS, isLocalAddress, parseAddress } from './address.ts';
export { configFromOptions, serviceOptions } from './cli-options.ts';
export { ConfigError, ConfigErrorCode, type ConfigProblem } from './config-error.ts';
export { loadConfigFile, parseConfig } from './config-file.ts';
export { type Credentials, checkOwnSae, loadCredentials } from './credentials.ts';
export { DURATION_FORM, parseDuration } from './duration.ts';
export { type CipherSuiteName, configJsonSchema, type GroupName } from './schema.ts';
export type { CredentialPaths, KmeConfig, ProxyConfig, ServiceConfig } from './service-config.ts';
