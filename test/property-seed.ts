/**
 * Properties are asked about the same inputs in every run, so that a test fails for a change of the code and not by
 * chance. Others are had with `QSTUNNEL_TEST_SEED=1 npm test`; fuzzing looks for what nobody thought of.
 */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env.QSTUNNEL_TEST_SEED ?? 20_261_126) });
