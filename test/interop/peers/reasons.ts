/** Reasons that several peers share, and the lists behind them. */
import { allValues } from '../axes.ts';

export const NO_IMPORTER = 'has no PSK importer (RFC 9258)';
export const NO_RFC9973 = 'has no extension 33 (RFC 9973)';

export const HYBRID_GROUPS = allValues.group.filter((name) => name.includes('MLKEM'));
export const ML_DSA = allValues.signature.filter((name) => name.startsWith('mldsa'));
export const withoutMlDsa = allValues.signature.filter((name) => !name.startsWith('mldsa'));
export const RSA_PSS_PSS = allValues.signature.filter((name) => name.startsWith('rsa_pss_pss'));
export const ECHO_CLOSES = 'its programs close both directions at once';
