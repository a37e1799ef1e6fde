// Loads the worker from the source tree on a runtime that can't strip types:
// its threads don't inherit the loader that tsx registered in the main one.
import { register } from 'tsx/esm/api';

register();
await import('./link-worker.ts');
