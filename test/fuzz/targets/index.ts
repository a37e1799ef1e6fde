/** What is fuzzed: every decoder, and both state machines behind their keys. */
import type { Target } from '../target.ts';
import { certificateTargets } from './certificates.ts';
import { configurationTargets } from './configuration.ts';
import { engineTargets } from './engines.ts';
import { keyChannelTargets } from './key-channel.ts';
import { keyManagerTargets } from './key-managers.ts';
import { keyShareTargets } from './key-shares.ts';
import { messageTargets } from './messages.ts';
import { recordTargets } from './records.ts';

export const targets: readonly Target[] = [
  ...messageTargets,
  ...recordTargets,
  ...keyShareTargets,
  ...engineTargets,
  ...keyChannelTargets,
  ...keyManagerTargets,
  ...certificateTargets,
  ...configurationTargets,
];
