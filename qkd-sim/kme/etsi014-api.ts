/** ETSI GS QKD 014 V1.1.1, clauses 5 and 6, as a key manager answers it. */
import {
  type Etsi014Key,
  type Etsi014KeyContainer,
  type Etsi014KeyRequest,
  Etsi014Message,
  type Etsi014Status,
  parseEtsi014KeyIds,
  parseEtsi014KeyRequest,
} from '../../kdi-client/wire/index.ts';
import { DecodeError } from '../../tls-ext/bytes/index.ts';
import { countOfQuery, failure, type HttpCall, type HttpReply, ok, UNAUTHORIZED } from './http-reply.ts';
import type { IdentifiedKey, IdentifiedKeys } from './identified-keys.ts';
import type { PeerDirectory } from './peer-directory.ts';
import type { Etsi014Quirks } from './quirks.ts';

export interface Etsi014Limits {
  /** Default size of a key. All sizes are multiples of 8. */
  readonly keySizeBits: number;
  readonly minKeySizeBits: number;
  readonly maxKeySizeBits: number;
  readonly maxKeysPerRequest: number;
  /** Slaves besides the one in the path; 0: no multicast. */
  readonly maxAdditionalSlaves: number;
}

export const DEFAULT_ETSI014_LIMITS: Etsi014Limits = {
  keySizeBits: 256,
  minKeySizeBits: 64,
  maxKeySizeBits: 8192,
  maxKeysPerRequest: 128,
  maxAdditionalSlaves: 8,
};

export interface Etsi014Context {
  readonly kmeId: string;
  readonly directory: PeerDirectory;
  readonly keys: IdentifiedKeys;
  readonly limits: Etsi014Limits;
  readonly quirks: Etsi014Quirks;
  /** Told of each key that goes out. */
  readonly onDelivered: (saeId: string, keys: readonly IdentifiedKey[]) => void;
}

/** Answers `/api/v1/keys/{SAE_ID}/{status|enc_keys|dec_keys}`; `undefined` for any other path. */
export async function answerEtsi014(context: Etsi014Context, call: HttpCall): Promise<HttpReply | undefined> {
  const [api, version, keys, otherSaeId = '', what, ...rest] = call.path;
  if (api !== 'api' || version !== 'v1' || keys !== 'keys' || rest.length > 0) return undefined;
  if (what !== 'status' && what !== 'enc_keys' && what !== 'dec_keys') return undefined;
  const allowed = what === 'status' ? ['GET'] : ['GET', 'POST'];
  if (!allowed.includes(call.method)) {
    return { ...failure(405, `${what} takes ${allowed.join(' and ')}`), headers: { allow: allowed.join(', ') } };
  }
  if (call.saeId === undefined) return UNAUTHORIZED;
  try {
    switch (what) {
      case 'status':
        return statusReply(context, call.saeId, otherSaeId);
      case 'enc_keys':
        return await encKeysReply(context, call.saeId, otherSaeId, keyRequestOf(call));
      case 'dec_keys':
        return decKeysReply(context, call.saeId, otherSaeId, keyIdsOf(call));
    }
  } catch (error) {
    if (error instanceof DecodeError || error instanceof RangeError) return failure(400, error.message);
    throw error;
  }
}

function statusReply(context: Etsi014Context, masterSaeId: string, slaveSaeId: string): HttpReply {
  const { limits, quirks, directory } = context;
  const peer = directory.peerOfSae(slaveSaeId);
  if (peer === undefined) return unknownSlave(slaveSaeId);
  const { availableBytes, capacityBytes } = peer.supply.level();
  const keyBytes = limits.keySizeBits / 8;
  const unit = quirks.keySizeInBytes ? 8 : 1;
  const status: Etsi014Status = {
    source_KME_ID: context.kmeId,
    target_KME_ID: peer.kmeId,
    master_SAE_ID: masterSaeId,
    slave_SAE_ID: slaveSaeId,
    key_size: limits.keySizeBits / unit,
    stored_key_count: Math.floor(availableBytes / keyBytes),
    max_key_count: Math.floor(capacityBytes / keyBytes),
    max_key_per_request: limits.maxKeysPerRequest,
    max_key_size: limits.maxKeySizeBits / unit,
    min_key_size: limits.minKeySizeBits / unit,
    max_SAE_ID_count: limits.maxAdditionalSlaves,
  };
  return ok(quirks.numericKmeIds ? { ...status, target_KME_ID: 1 } : status);
}

async function encKeysReply(
  context: Etsi014Context,
  masterSaeId: string,
  slaveSaeId: string,
  request: Etsi014KeyRequest,
): Promise<HttpReply> {
  const { limits, quirks, directory, keys } = context;
  const { number = 1, additional_slave_SAE_IDs: additional = [], extension_mandatory: mandatory = [] } = request;
  const unit = quirks.keySizeInBytes ? 8 : 1;
  const sizeBits = request.size === undefined ? limits.keySizeBits : request.size * unit;
  if (mandatory.length > 0) return failure(400, Etsi014Message.mandatoryNotSupported);
  if (sizeBits % 8 !== 0) return failure(400, Etsi014Message.sizeNotMultipleOf8);
  if (sizeBits < limits.minKeySizeBits || sizeBits > limits.maxKeySizeBits) {
    return failure(400, `size shall be from ${limits.minKeySizeBits / unit} to ${limits.maxKeySizeBits / unit}`);
  }
  if (number < 1 || number > limits.maxKeysPerRequest) {
    return failure(400, `number shall be from 1 to ${limits.maxKeysPerRequest}`);
  }
  if (additional.length > limits.maxAdditionalSlaves) {
    return failure(400, `at most ${limits.maxAdditionalSlaves} additional_slave_SAE_IDs are allowed`);
  }
  const slaveSaeIds = [...new Set([slaveSaeId, ...additional])];
  for (const saeId of slaveSaeIds) {
    const isKnown = directory.peerOfSae(saeId) !== undefined || directory.isLocal(saeId);
    if (!isKnown || saeId === masterSaeId) return unknownSlave(saeId);
  }
  if (!keys.canReach(slaveSaeIds)) return failure(400, 'the slave SAEs are not served by one and the same KME');
  const result = await keys.draw({
    api: 'etsi014',
    masterSaeId,
    slaveSaeIds,
    count: number,
    lengthBytes: sizeBits / 8,
  });
  switch (result.outcome) {
    case 'drawn':
      return delivery(context, masterSaeId, result.keys);
    case 'insufficient':
      return failure(503, 'insufficient key at the moment');
    case 'unavailable':
      return failure(503, 'the KME of the slave SAE did not confirm the keys');
  }
}

function decKeysReply(
  context: Etsi014Context,
  slaveSaeId: string,
  masterSaeId: string,
  keyIds: readonly string[],
): HttpReply {
  if (keyIds.length === 0) return failure(400, 'no key_ID was given');
  const result = context.keys.fetch(
    'etsi014',
    slaveSaeId,
    masterSaeId,
    keyIds.map((keyId) => keyId.toLowerCase()),
  );
  switch (result.outcome) {
    case 'found':
      return delivery(context, slaveSaeId, result.keys);
    case 'unauthorized':
      return UNAUTHORIZED;
    case 'not-found':
      return { ...failure(400, Etsi014Message.keysNotFound), status: context.quirks.unknownKeyStatus ?? 400 };
  }
}

function delivery(context: Etsi014Context, saeId: string, keys: readonly IdentifiedKey[]): HttpReply {
  context.onDelivered(saeId, keys);
  const container: Etsi014KeyContainer = {
    keys: keys.map(({ keyId, key, ageMs, provenance }): Etsi014Key => {
      const text = Buffer.from(key.expose()).toString('base64');
      key.wipe();
      // The standard has no field for these; an extension may be ignored by who doesn't know it.
      const { hops, simulated } = provenance;
      return { key_ID: keyId, key: text, key_extension: { age: ageMs, hops, simulated } };
    }),
  };
  return ok(container);
}

function keyRequestOf(call: HttpCall): Etsi014KeyRequest {
  if (call.method === 'POST') return parseEtsi014KeyRequest(call.body ?? {});
  const number = countOfQuery(call.query, 'number');
  const size = countOfQuery(call.query, 'size');
  return { ...(number === undefined ? {} : { number }), ...(size === undefined ? {} : { size }) };
}

function keyIdsOf(call: HttpCall): string[] {
  if (call.method === 'POST') return parseEtsi014KeyIds(call.body).key_IDs.map(({ key_ID }) => key_ID);
  const ids = call.query.getAll('key_ID');
  if (ids.length > 1) throw new RangeError('GET takes a single key_ID; use POST for several');
  return parseEtsi014KeyIds({ key_IDs: ids.map((key_ID) => ({ key_ID })) }).key_IDs.map(({ key_ID }) => key_ID);
}

function unknownSlave(saeId: string): HttpReply {
  return failure(400, `no KME is known to serve the slave SAE ${JSON.stringify(saeId.slice(0, 128))}`);
}
