import type { start } from '../processes.ts';

export interface LogLine {
  readonly event: string;
  readonly address?: string;
}

/** The first line of this event in a proxy's log, from now on or already written. */
export function logLine(child: ReturnType<typeof start>, event: string): Promise<LogLine> {
  return new Promise((resolve, reject) => {
    const look = () => {
      for (const text of child.output().split('\n')) {
        if (!text.includes(`"event":"${event}"`) || !text.endsWith('}')) continue;
        child.stderr?.off('data', look);
        return resolve(JSON.parse(text) as LogLine);
      }
    };
    child.stderr?.on('data', look);
    child.once('exit', () => reject(new Error(`qstunnel ended:\n${child.output()}`)));
    look();
  });
}
