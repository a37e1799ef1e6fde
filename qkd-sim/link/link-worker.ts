/**
 * The thread in which a link computes. It never runs ahead: after each message
 * it waits for `go`, so that the runner's clock paces it and at most one
 * message is under way.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { QkdLink } from './link.ts';
import type { BlockProgress, BlockReport, LinkConfig } from './link-types.ts';

/** Worker to runner. */
export type WorkerMessage =
  | { readonly type: 'progress'; readonly progress: BlockProgress }
  | {
      readonly type: 'block';
      readonly report: BlockReport;
      readonly aliceKey?: Uint8Array;
      readonly bobKey?: Uint8Array;
    };

/** Runner to worker. */
export type RunnerMessage =
  | { readonly type: 'go' }
  | { readonly type: 'eavesdropper'; readonly interceptFraction: number };

/** Runs blocks for ever; the runner ends the thread. */
export async function runLink(config: LinkConfig, port: MessagePort): Promise<never> {
  const link = new QkdLink(config);
  let go = () => {};
  port.on('message', (message: RunnerMessage) => {
    switch (message.type) {
      case 'go':
        go();
        break;
      case 'eavesdropper':
        link.setEavesdropper(message.interceptFraction);
        break;
      default:
        message satisfies never;
    }
  });
  const send = (message: WorkerMessage, moved: ArrayBuffer[] = []) =>
    new Promise<void>((resolve) => {
      go = resolve;
      port.postMessage(message, moved);
    });

  for (;;) {
    const { report, aliceKey, bobKey } = await link.nextBlock((progress) => send({ type: 'progress', progress }));
    if (aliceKey === undefined || bobKey === undefined) await send({ type: 'block', report });
    // The keys are moved, not copied: nothing of them stays in this thread.
    else await send({ type: 'block', report, aliceKey, bobKey }, [aliceKey.buffer, bobKey.buffer] as ArrayBuffer[]);
  }
}

if (parentPort !== null) void runLink(workerData as LinkConfig, parentPort);
