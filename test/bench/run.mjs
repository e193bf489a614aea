// Every number that the README beside this file states, as Markdown.
// Run: node --expose-gc test/bench/run.mjs [lease requests …] [--quick] [--json FILE]
//      node test/bench/run.mjs requests --guard [--record]
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { print, readFlags } from './figures.mjs'

const BENCHES = [
  'statecharts',
  'lease',
  'requests',
  'hop',
  'streams',
  'cold-start',
  'bodies',
  'memory',
  'cli',
  'inspect',
  'watched',
  'page',
  'features',
  'logs',
  'elsewhere',
  'sleep',
  'cluster',
  'failover',
  'swap',
]

const { quick, json, names, guard, record } = readFlags()
if (guard || record) {
  const { guard: look } = await import('./guard.mjs')
  process.exit(await look({ record }))
}
console.log(`# leasehold, node ${process.version}, ${process.platform}, ${availableParallelism()} cores\n`)
const reports = {}
for (const name of names.length === 0 ? BENCHES : names) {
  const { measure } = await import(`./${name}.mjs`)
  reports[name] = await measure({ quick })
  print(reports[name])
}
if (json !== undefined)
  writeFileSync(json, JSON.stringify({ node: process.version, quick, ...reports }, null, 2))
