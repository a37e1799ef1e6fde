import { KdiError, KdiErrorCode } from '../errors.ts';
import type { HttpReply } from '../http/kme-http.ts';
import { Etsi014Message, parseEtsi014Error } from '../wire/index.ts';
import type { Etsi014Quirks } from './source.ts';

/** The typed error of a 014 reply other than 200 (clause 5; 401 has no body). */
export function replyError(
  reply: HttpReply,
  call: 'status' | 'enc_keys' | 'dec_keys',
  kme: string,
  quirks: Etsi014Quirks = {},
): KdiError {
  const { status: httpStatus } = reply;
  const said = messageOf(reply.json);
  const error = (code: KdiErrorCode, meaning: string, retryable?: boolean): KdiError =>
    new KdiError(code, `KME ${kme} answered ${call} with ${httpStatus}: ${meaning}`, {
      httpStatus,
      ...(retryable === undefined ? {} : { retryable }),
    });
  const isUnknownKey = httpStatus === 400 && said?.toLowerCase() === Etsi014Message.keysNotFound.toLowerCase();
  if (call === 'dec_keys' && (isUnknownKey || quirks.unknownKeyStatuses?.includes(httpStatus))) {
    return error(KdiErrorCode.keyNotFound, said ?? 'unknown key_ID');
  }
  switch (httpStatus) {
    case 400:
      // No message is fixed for an empty store; this is how servers put it.
      if (call === 'enc_keys' && /insufficient|not enough|no (?:more )?keys?|unavailable/i.test(said ?? '')) {
        return error(KdiErrorCode.insufficientKey, said as string);
      }
      return error(KdiErrorCode.badRequest, said ?? 'bad request');
    case 401:
      return error(
        KdiErrorCode.unauthorized,
        call === 'dec_keys'
          ? 'our certificate was not named as a slave SAE of this key, or is not admitted'
          : 'our certificate is not admitted; is its SAE ID where this KME looks for it?',
      );
    case 404:
      return error(
        KdiErrorCode.http,
        call === 'dec_keys'
          ? 'not found; if this KME says so of an unknown key_ID, set unknown-key-status: 404'
          : 'not found; is the SAE ID right, and the path prefix of the URL?',
      );
    case 503:
      return call === 'enc_keys'
        ? error(KdiErrorCode.insufficientKey, said ?? 'no key at the moment')
        : error(KdiErrorCode.http, said ?? 'not available', true);
    default:
      if (httpStatus >= 300 && httpStatus < 400)
        return error(KdiErrorCode.http, 'a redirect, which 014 does not know; does the URL lead to the KME itself?');
      return error(KdiErrorCode.http, said ?? 'a status that 014 does not know', httpStatus >= 500);
  }
}

function messageOf(json: unknown): string | undefined {
  try {
    return parseEtsi014Error(json)
      .message.replace(/[^\x20-\x7e]/g, '?')
      .slice(0, 200);
  } catch {
    return undefined;
  }
}
