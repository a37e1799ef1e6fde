/** Writes docs/qstunnel.schema.json from the built program; a test fails when it is not current. Run after `npm run build`. */
import { writeFileSync } from 'node:fs';

const { configJsonSchema } = await import(new URL('../dist/proxy/config/schema.js', import.meta.url).href);
const file = new URL('../docs/qstunnel.schema.json', import.meta.url);
writeFileSync(file, `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
