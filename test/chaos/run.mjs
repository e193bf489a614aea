#!/usr/bin/env node
// Chaos: see the README beside this file.
import { parseArgs } from 'node:util'
import { runCampaign } from './campaign.mjs'

const FORMS = {
  mini: { requests: 200, childKills: 1, supervisorKills: 2 },
  short: { requests: 20_000, childKills: 200, supervisorKills: 50 },
  long: { requests: 1_000_000, childKills: 2_000, supervisorKills: 1_000 },
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    mini: { type: 'boolean', default: false },
    short: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    cluster: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '60' },
    'or-skip': { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    'self-test': { type: 'boolean', default: false },
    requests: { type: 'string' },
    'child-kills': { type: 'string' },
    'supervisor-kills': { type: 'string' },
    seed: { type: 'string' },
    chapter: { type: 'string', default: '0' },
  },
})

if (process.platform !== 'linux') {
  console.error('The chaos run reads /proc: it needs Linux.')
  process.exit(2)
}
if (values['self-test']) {
  const { testTheTest } = await import('./self-test.mjs')
  process.exitCode = (await testTheTest(positionals)) ? 0 : 1
} else if (values.cluster) {
  const { findClusterObstacle, runClusterChaos } = await import('./cluster.mjs')
  const obstacle = values['or-skip'] ? await findClusterObstacle() : undefined
  if (obstacle !== undefined) {
    console.log(`Chaos over three machines is skipped: ${obstacle}`)
    process.exit(0)
  }
  const seed = toSeed()
  console.log(`chaos over three machines, seed ${seed}, node ${process.version}: ${values.seconds} s`)
  const { counts, deeds, violations, seconds } = await runClusterChaos({
    seed,
    seconds: Number(values.seconds),
    isVerbose: values.verbose,
  })
  for (const violation of violations) console.log(`VIOLATION ${violation}`)
  printRows([
    ...toRows(counts),
    ...toRows(deeds),
    ['seconds', Math.round(seconds)],
    ['violations', violations.length],
  ])
  process.exitCode = violations.length === 0 ? 0 : 1
  if (violations.length > 0) console.log(`\nagain: npm run chaos -- --cluster --seed ${seed} --verbose`)
} else {
  const form = values.long ? FORMS.long : values.mini ? FORMS.mini : FORMS.short
  const targets = {
    requests: Number(values.requests ?? form.requests),
    childKills: Number(values['child-kills'] ?? form.childKills),
    supervisorKills: Number(values['supervisor-kills'] ?? form.supervisorKills),
  }
  const seed = toSeed()
  console.log(`chaos, seed ${seed}, node ${process.version}: ${JSON.stringify(targets)}`)
  let told = 0
  const totals = await runCampaign({
    seed,
    targets,
    first: Number(values.chapter),
    hasContainer: !values.mini,
    onStage: ({ engine, obstacle }) =>
      console.log(
        engine === undefined ? `without a container: ${obstacle}` : `with a container of ${engine}`,
      ),
    onChapter: ({ chapter, requests, supervisorKills, deeds, violations, seconds }) => {
      console.log(
        `chapter ${chapter}: ${requests} requests, ${deeds['server killed'] ?? 0} servers and ${supervisorKills} supervisors killed, ${violations.length} violations, ${Math.round(seconds)} s`,
      )
      for (const violation of violations.slice(told)) console.log(`VIOLATION ${violation}`)
      told = violations.length
    },
  })
  print(totals)
  process.exitCode = totals.violations.length === 0 ? 0 : 1
  if (totals.violations.length > 0) console.log(`\nagain: npm run chaos -- --seed ${seed}`)
}

function print({ requests, gateways, supervisorKills, slowestGoneMs, counts, deeds, violations, seconds }) {
  const rows = [
    ['requests', requests],
    ...toRows(counts),
    ['supervisors', gateways],
    ['supervisors killed', supervisorKills],
    ['longest from a kill to nothing left, ms', slowestGoneMs],
    ...toRows(deeds),
    ['seconds', Math.round(seconds)],
    ['violations', violations.length],
  ]
  printRows(rows)
}

function printRows(rows) {
  const width = Math.max(...rows.map(([name]) => name.length))
  console.log(`\n| ${'what'.padEnd(width)} |  count |\n| ${'-'.repeat(width)} | -----: |`)
  for (const [name, number] of rows) console.log(`| ${name.padEnd(width)} | ${String(number).padStart(6)} |`)
}

function toSeed() {
  return Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
}

function toRows(counts) {
  return Object.entries(counts).sort(([one], [other]) => one.localeCompare(other))
}
