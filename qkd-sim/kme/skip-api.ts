/** SKIP, draft-cisco-skip-02, as a key provider answers it. System IDs are SAE IDs. */
import type { SkipCapabilities, SkipEntropy, SkipKey } from '../../kdi-client/wire/index.ts';
import { hexOf } from '../../tls-ext/bytes/index.ts';
import { countOfQuery, failure, type HttpCall, type HttpReply, ok, UNAUTHORIZED } from './http-reply.ts';
import type { IdentifiedKey, IdentifiedKeys } from './identified-keys.ts';
import type { PeerDirectory } from './peer-directory.ts';

/** Sizes in bits: the draft's default, and the bounds here. */
const DEFAULT_KEY_BITS = 256;
const MIN_KEY_BITS = 64;
const MAX_KEY_BITS = 8192;
const DEFAULT_MIN_ENTROPY_BITS = 256;
const MAX_MIN_ENTROPY_BITS = 8192;
/** The draft has no field for provenance; the name of the algorithm is where a client can see what it gets. */
const ALGORITHM = 'simulated-bb84';

export interface SkipContext {
  readonly directory: PeerDirectory;
  readonly keys: IdentifiedKeys;
  /** What `/capabilities` lists as remoteSystemID, globs allowed; absent: the SAEs of the peers. */
  readonly remoteSystemIds?: readonly string[];
  readonly randomBytes: (length: number) => Uint8Array;
  readonly onDelivered: (saeId: string, keys: readonly IdentifiedKey[]) => void;
}

/** Answers `/capabilities`, `/key`, `/key/{keyId}` and `/entropy`; `undefined` for any other path. */
export async function answerSkip(context: SkipContext, call: HttpCall): Promise<HttpReply | undefined> {
  const [what, keyId, ...rest] = call.path;
  if (rest.length > 0 || (keyId !== undefined && what !== 'key')) return undefined;
  if (what !== 'capabilities' && what !== 'key' && what !== 'entropy') return undefined;
  if (call.method !== 'GET') return { ...failure(405, 'SKIP takes GET only'), headers: { allow: 'GET' } };
  if (call.saeId === undefined) return UNAUTHORIZED;
  try {
    switch (what) {
      case 'capabilities':
        return capabilitiesReply(context, call.saeId);
      case 'key':
        return keyId === undefined
          ? await newKeyReply(context, call.saeId, call.query)
          : keyByIdReply(context, call.saeId, keyId, call.query);
      case 'entropy':
        return entropyReply(context, call.query);
    }
  } catch (error) {
    if (error instanceof RangeError) return failure(400, error.message);
    throw error;
  }
}

function capabilitiesReply(context: SkipContext, saeId: string): HttpReply {
  const capabilities: SkipCapabilities = {
    entropy: true,
    key: true,
    algorithm: ALGORITHM,
    localSystemID: saeId,
    remoteSystemID: context.remoteSystemIds ?? context.directory.peers.flatMap((peer) => peer.saeIds),
  };
  return ok(capabilities);
}

async function newKeyReply(context: SkipContext, saeId: string, query: URLSearchParams): Promise<HttpReply> {
  const remote = query.get('remoteSystemID');
  const sizeBits = countOfQuery(query, 'size') ?? DEFAULT_KEY_BITS;
  if (remote === null) return failure(400, 'remoteSystemID is missing');
  if (context.directory.peerOfSae(remote) === undefined) return failure(400, 'remoteSystemID is not known');
  if (sizeBits % 8 !== 0 || sizeBits < MIN_KEY_BITS || sizeBits > MAX_KEY_BITS) {
    return failure(400, `size is a multiple of 8 from ${MIN_KEY_BITS} to ${MAX_KEY_BITS}`);
  }
  const result = await context.keys.draw({
    api: 'skip',
    masterSaeId: saeId,
    slaveSaeIds: [remote],
    count: 1,
    lengthBytes: sizeBits / 8,
  });
  switch (result.outcome) {
    case 'drawn':
      return delivery(context, saeId, result.keys);
    case 'insufficient':
      return failure(503, 'no key at the moment');
    case 'unavailable':
      return failure(500, 'the remote key provider did not confirm the key');
  }
}

function keyByIdReply(context: SkipContext, saeId: string, keyId: string, query: URLSearchParams): HttpReply {
  const remote = query.get('remoteSystemID');
  if (remote === null) return failure(400, 'remoteSystemID is missing');
  if (!/^(?:[0-9a-f]{2}){1,64}$/i.test(keyId)) return failure(400, 'keyId is not hex');
  const result = context.keys.fetch('skip', saeId, remote, [keyId.toLowerCase()]);
  // The draft has one answer for both: who was not named learns nothing.
  return result.outcome === 'found'
    ? delivery(context, saeId, result.keys)
    : failure(400, 'no such key for this remoteSystemID');
}

function entropyReply(context: SkipContext, query: URLSearchParams): HttpReply {
  const bits = countOfQuery(query, 'minentropy') ?? DEFAULT_MIN_ENTROPY_BITS;
  if (bits < 1 || bits > MAX_MIN_ENTROPY_BITS) return failure(400, `minentropy is 1 to ${MAX_MIN_ENTROPY_BITS}`);
  const random = context.randomBytes(Math.ceil(bits / 8));
  const entropy: SkipEntropy = { randomStr: hexOf(random), minentropy: 8 * random.length };
  random.fill(0);
  return ok(entropy);
}

function delivery(context: SkipContext, saeId: string, keys: readonly IdentifiedKey[]): HttpReply {
  context.onDelivered(saeId, keys);
  const [{ keyId, key }] = keys as [IdentifiedKey];
  const reply: SkipKey = { keyId, key: hexOf(key.expose()) };
  key.wipe();
  return ok(reply);
}
