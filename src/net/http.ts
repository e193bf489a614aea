/**
 * `createServer` of `node:http`. An import of that module would load all that it exports lazily too: from Node 22 on
 * that is a whole HTTP client, which took 90 ms of 140 of a process's start where it was measured.
 */
export const { createServer } = process.getBuiltinModule('node:http')
