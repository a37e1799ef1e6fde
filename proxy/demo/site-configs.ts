/** The YAML files that the two sites of the demo would write by hand. */

export interface SiteConfig {
  readonly sae: string;
  readonly peerSae: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  readonly kme: string;
  readonly services: readonly {
    readonly name: string;
    readonly connect: string;
    readonly require: string;
  }[];
}

/** Keys that each proxy keeps agreed ahead: few, so that the demo can run them dry with ordinary connections. */
export const KEYS_AHEAD = 4;
/** One key in each chunk, so that every key of the stores comes to use. */
export const KEY_CHUNK_BYTES = 32;
/** How long a connection that must have a key waits for one. */
export const KEY_WAIT = '1s';

export function yamlOf(mode: 'client' | 'server', site: SiteConfig): string {
  const services = site.services.map(
    ({ name, connect, require }) => `  - name: ${name}
    mode: ${mode}
    accept: 127.0.0.1:0
    connect: ${connect}
    require: ${require}
`,
  );
  return `defaults:
  cert: ${site.cert}
  key: ${site.key}
  ca: ${site.ca}
  sae: ${site.sae}
  peer-sae: [${site.peerSae}]
  kme: ${site.kme}
  key-chunk-size: ${KEY_CHUNK_BYTES}
  keys-ahead: ${KEYS_AHEAD}
  keys-ahead-max: ${KEYS_AHEAD}
  key-wait: ${KEY_WAIT}
services:
${services.join('')}`;
}
