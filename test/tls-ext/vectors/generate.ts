/** Writes the file of test vectors: `npm run vectors`. */
import { writeFile } from 'node:fs/promises';
import { makeVectors, vectorsFile, vectorsText } from './all-vectors.ts';

const vectors = makeVectors();
await writeFile(vectorsFile, vectorsText(vectors));
console.log(`${vectors.length} vectors, ${vectors.reduce((sum, { values }) => sum + values.length, 0)} values`);
