import { authenticationCases } from './authentication.ts';
import { clientHelloCases } from './client-hellos.ts';
import { listCases } from './lists.ts';
import { firstRecordCases, negotiatedCases, recordCases, ticketCases } from './records.ts';
import { rekeyCases } from './rekeys.ts';
import { serverHelloCases } from './server-hellos.ts';
import { resumptionCases } from './tickets.ts';

export const allCases = [
  ...clientHelloCases,
  ...serverHelloCases,
  ...listCases,
  ...authenticationCases,
  ...recordCases,
  ...ticketCases,
  ...negotiatedCases,
  ...firstRecordCases,
  ...resumptionCases,
  ...rekeyCases,
];
