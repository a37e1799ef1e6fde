/** Faults of a key manager over HTTP, by what it answers to one call. */
import type { HttpsAnswer } from '../support/https-kme.ts';
import { type Asked, fastClock, type SpoilHttp, type SpoiltExamination, spoiling } from './faulty-pair.ts';

export type Fields = Readonly<Record<string, unknown>>;

export const answers = (
  end: Asked['end'],
  what: string,
  nth: number | 'all',
  change: (reply: HttpsAnswer) => HttpsAnswer,
) => spoiling<HttpsAnswer>(end, what, nth, change);
export const status = (end: Asked['end'], what: string, nth: number | 'all', code: number, json?: Fields) =>
  answers(end, what, nth, () => ({ status: code, ...(json === undefined ? {} : { json }) }));
export const fields = (end: Asked['end'], what: string, nth: number | 'all', change: Fields) =>
  answers(end, what, nth, ({ json }) => ({ json: { ...(json as Fields), ...change } }));
export const without = (what: string, field: string) =>
  answers('own', what, 'all', ({ json }) => ({ json: { ...(json as Fields), [field]: undefined } }));
export const html = (end: Asked['end'], what: string, nth: number) =>
  answers(end, what, nth, () => ({ text: '<html>It works!</html>', headers: { 'content-type': 'text/html' } }));
export const honest: SpoilHttp = (_asked, reply) => reply;

export const ALONE = { alone: true };
/** Nothing is lost by it but the time that would be waited in vain. */
export const FAST: SpoiltExamination = {
  clock: fastClock,
  change: (options) => ({ ...options, limits: { totalMs: 110_000, connectMs: 40_000, replyMs: 40_000 } }),
};

/** The `nth` look-up of this kind at the peer's end comes too early, and the same one has its key when it is asked again. */
export function late(what: string, nth: number, json?: Fields): SpoilHttp {
  let held: { readonly text: string; readonly reply: HttpsAnswer } | undefined;
  return (asked, reply) => {
    if (asked.end === 'peer' && asked.what === what && asked.nth === nth) {
      held = { text: asked.text, reply };
      return { status: 400, json };
    }
    if (held?.text !== asked.text) return reply;
    const key = held.reply;
    held = undefined;
    return key;
  };
}
