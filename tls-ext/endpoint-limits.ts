/** Bounds on what a peer may make an endpoint keep, count or pass over. */

/** Bytes that may arrive while a PSK is being chosen: the client has nothing to say then but early data. */
export const MAX_PAUSED_BYTES_BEFORE_HELLO = 65_536;
/** Bytes that may arrive while a certificate is being judged: data may follow a client's Finished at once. */
export const MAX_PAUSED_BYTES = 1_048_576;
/** change_cipher_spec records of a handshake; two are usual, with HelloRetryRequest and early data. */
export const MAX_CHANGE_CIPHER_SPECS = 4;
/** Early data of a client that believes we accept it. */
export const MAX_SKIPPED_EARLY_DATA_BYTES = 65_536;
