import { type Etsi004Frame, Etsi004Splitter } from '../../../kdi-client/wire/index.ts';
import { concatBytes, DecodeError } from '../../../tls-ext/bytes/index.ts';

/** All frames of one buffer, which must end at a boundary. */
export function splitWhole(expects: 'requests' | 'responses', ...parts: readonly Uint8Array[]): Etsi004Frame[] {
  const splitter = new Etsi004Splitter(expects);
  const frames = splitter.push(concatBytes(...parts));
  if (!splitter.atBoundary) throw new DecodeError('the last message is truncated');
  return frames;
}
