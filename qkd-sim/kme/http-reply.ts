import type { Etsi014Error } from '../../kdi-client/wire/index.ts';

/** A request as the APIs over HTTP see it, already authenticated. */
export interface HttpCall {
  readonly method: string;
  /** Segments of the path, decoded. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  /** Parsed JSON of the body; absent if there was none. */
  readonly body?: unknown;
  /** Absent if the client's certificate names no SAE that is served here. */
  readonly saeId?: string;
}

export interface HttpReply {
  readonly status: number;
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export function ok(json: unknown): HttpReply {
  return { status: 200, json };
}

/** An error with the body that GS QKD 014 gives it. */
export function failure(status: 400 | 404 | 405 | 413 | 500 | 503, message: string): HttpReply {
  return { status, json: { message } satisfies Etsi014Error };
}

/** 401, which has no body. */
export const UNAUTHORIZED: HttpReply = { status: 401 };

/** A whole number of a query, or `undefined` if the parameter is absent; throws `RangeError` on anything else. */
export function countOfQuery(query: URLSearchParams, name: string): number | undefined {
  const values = query.getAll(name);
  const [text] = values;
  if (text === undefined) return undefined;
  if (values.length > 1 || !/^\d{1,9}$/.test(text)) throw new RangeError(`${name} is not a whole number`);
  return Number(text);
}
