/** What a stranger's chain may make us read. Own files are held to the same limits, since peers will be. */

/** Largest certificate. One with ML-DSA-87 has about 7.5 KiB. */
export const MAX_CERTIFICATE_BYTES = 16 * 1024;
/** Most certificates in a chain, and bytes of them in total. */
export const MAX_CHAIN_CERTIFICATES = 8;
export const MAX_CHAIN_BYTES = 64 * 1024;
