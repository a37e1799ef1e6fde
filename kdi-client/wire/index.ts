/** Wire messages of the key-delivery APIs, both directions: what a client and a key manager share. */
export * from './etsi004.ts';
export * from './etsi004-framing.ts';
export * from './etsi004-metadata.ts';
export * from './etsi014.ts';
export * from './skip.ts';
export * from './strict-json.ts';
