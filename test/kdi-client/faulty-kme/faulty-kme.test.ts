import { declareScenarios } from './every-scenario.ts';

describe('kdi-client: two sites over a faulty key manager', () => {
  declareScenarios(({ quick = false }) => quick);
});
