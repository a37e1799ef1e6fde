import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { configJsonSchema, parseConfig } from '../../proxy/config/index.ts';

describe('proxy config: documentation', () => {
  const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

  for (const path of ['README.md', 'docs/configuration.md']) {
    it(`has examples in ${path} that are accepted as they stand`, () => {
      const examples = [...read(path).matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, yaml]) => yaml as string);
      const configurations = examples.filter((yaml) => /^services:/m.test(yaml));
      expect(configurations).not.to.have.length(0);
      for (const yaml of configurations) expect(parseConfig(yaml, path).services, yaml).not.to.have.length(0);
    });
  }

  it('names every setting in docs/configuration.md, with its default', () => {
    const table = read('docs/configuration.md');
    const { properties } = configJsonSchema() as { properties: Record<string, { items?: object }> };
    const service = ((properties.services?.items ?? {}) as { properties: Record<string, { description: string }> })
      .properties;
    for (const key of [...Object.keys(properties), ...Object.keys(service)]) expect(table).to.include(`\`${key}\``);
    for (const [key, { description }] of Object.entries(service)) {
      const value = /\(default: ([\w-]+)\)$/.exec(description)?.[1];
      if (value !== undefined) expect(table, key).to.match(new RegExp(`\`${key}\`.*\\| .*\`${value}\``));
    }
  });
});
