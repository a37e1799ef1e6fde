import { utf8 } from '../bytes/index.ts';
import { KeyChannelMisuseError } from './errors.ts';
import { INSTANCE_BYTES, MAX_NAME_BYTES, MAX_QUOTA } from './limits.ts';
import type { KeyChannelOptions } from './types.ts';

/** Throws `KeyChannelMisuseError` on options that could not be put on the wire. */
export function expectOptions({ ownSae, peerSae, instance, quota, kmeName }: KeyChannelOptions): void {
  if (instance.length !== INSTANCE_BYTES) throw new KeyChannelMisuseError(`an instance has ${INSTANCE_BYTES} bytes`);
  if (!Number.isInteger(quota) || quota < 1 || quota > MAX_QUOTA) {
    throw new KeyChannelMisuseError(`a quota is an integer of 1 to ${MAX_QUOTA}`);
  }
  if (utf8(kmeName).length > MAX_NAME_BYTES) throw new KeyChannelMisuseError('KME name too long');
  // A Selfie attack, or a slip of configuration that looks like one.
  if (ownSae === peerSae) throw new KeyChannelMisuseError('own and peer SAE are the same');
}
