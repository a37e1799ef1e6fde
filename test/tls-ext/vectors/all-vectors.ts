/** The file of test vectors as a fresh run makes it. */
import { channelScenarios } from './channel-scenarios.ts';
import { recordConnection } from './connection-recorder.ts';
import { handshakeScenarios } from './connection-scenarios.ts';
import { rekeyScenarios } from './rekey-scenarios.ts';
import { resumptionScenarios } from './session-scenarios.ts';
import { type Vector, vectorText } from './vector-text.ts';

/** The draft's appendix B. */
export const vectorsFile = new URL('../../../tls-ext/draft-qstunnel-tls-qkd-psk.vectors.md', import.meta.url);

const introduction = `# Appendix B: test vectors of draft-qstunnel-tls-qkd-psk

Written by a program (\`npm run vectors\` in the project's repository) from a run in which nothing is left to chance. Appendix A of the draft describes the form and the names of the values.
`;

export function makeVectors(): Vector[] {
  return [...handshakeScenarios, ...resumptionScenarios(), ...rekeyScenarios(), ...channelScenarios()].map(
    recordConnection,
  );
}

export function vectorsText(vectors: readonly Vector[]): string {
  return [introduction, ...vectors.map(vectorText)].join('\n');
}
