/** The three calls of GS QKD 014 as the doctor makes them: by POST, or by GET where POST is not there. */
import { replyError } from '../etsi014/errors.ts';
import { uuidOfBytes } from '../wire/index.ts';
import { Clause } from './clauses.ts';
import { ConfigHint } from './doctor-settings.ts';
import { type ProbedKey, readContainer } from './etsi014-replies.ts';
import type { HttpProbe, ProbeReply } from './http-probe.ts';

export class Etsi014Calls {
  readonly http: HttpProbe;
  /** The SAE at the other end: slave of what is drawn here, master of what is looked up. */
  readonly otherSaeId: string;
  #getOnly: boolean;

  constructor(http: HttpProbe, otherSaeId: string, getOnly: boolean) {
    this.http = http;
    this.otherSaeId = otherSaeId;
    this.#getOnly = getOnly;
  }

  get getOnly(): boolean {
    return this.#getOnly;
  }

  get statusPath(): string {
    return this.#path('status');
  }

  status(): Promise<ProbeReply> {
    return this.http.call({ path: this.statusPath, what: 'status' });
  }

  /** One key; `size` in the KME's unit, or the KME's own size. */
  encKeys(size: number | undefined): Promise<ProbeReply> {
    const path = this.#path('enc_keys');
    const query = `?number=1${size === undefined ? '' : `&size=${size}`}`;
    return this.#call('enc_keys', path, query, { number: 1, ...(size === undefined ? {} : { size }) });
  }

  decKeys(keyId: string): Promise<ProbeReply> {
    return this.#call('dec_keys', this.#path('dec_keys'), `?key_ID=${keyId}`, { key_IDs: [{ key_ID: keyId }] });
  }

  /** A key that is drawn; rejects with a `KdiError` if there is none. The receiver owns it. */
  async draw(size: number | undefined): Promise<{ readonly key: ProbedKey; readonly reply: ProbeReply }> {
    const { name } = this.http.end;
    const reply = await this.encKeys(size);
    if (reply.status !== 200) throw replyError(reply, 'enc_keys', name);
    return { key: readContainer(reply, name, 'enc_keys').key, reply };
  }

  #path(what: string): string {
    return `/api/v1/keys/${encodeURIComponent(this.otherSaeId)}/${what}`;
  }

  async #call(what: string, path: string, query: string, body: unknown): Promise<ProbeReply> {
    if (!this.#getOnly) {
      const reply = await this.http.call({ method: 'POST', path, body, what });
      if (reply.status !== 405) return reply;
      this.#getOnly = true;
      const { end } = this.http;
      end.exam.fail(
        end.id('methods'),
        Clause.etsi014GetKey,
        `POST to ${what} is answered with 405: this KME has the GET forms only`,
        ConfigHint.getOnly,
      );
    }
    return this.http.call({ path: path + query, what: `${what} by GET` });
  }
}

/** A key_ID that no KME has given to anybody: a UUID of version 4 (RFC 9562, 5.4). */
export function unknownKeyId(random: (lengthBytes: number) => Uint8Array): string {
  const uuid = Uint8Array.from(random(16));
  uuid[6] = ((uuid[6] as number) & 0x0f) | 0x40;
  uuid[8] = ((uuid[8] as number) & 0x3f) | 0x80;
  return uuidOfBytes(uuid);
}
