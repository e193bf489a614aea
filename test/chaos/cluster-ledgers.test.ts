import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { hasProcfs } from '../../src/process/tree.ts'
import { createNetwork, hasNamespaces } from '../cluster/namespaces.ts'
import { expectNoNetwork, untilGone, untilQuiet, untilWell } from './cluster-end.mjs'
import { joinClusterLedgers } from './cluster-ledgers.mjs'

const START = 1_000_000
const SHA = 'a'.repeat(64)

interface Harm {
  readonly deed: string
  readonly target: string
  readonly from: number
  readonly to: number
}

/** What the clients, the servers and the saboteur say of one short run. */
interface History {
  readonly records: readonly object[]
  readonly lines: readonly object[]
  readonly runs: readonly object[]
  readonly harms: readonly Harm[]
  readonly sent: Readonly<Record<string, number>>
}

const record = (part: object = {}) => ({
  ...{ nonce: 'tower-1', box: 'tower', model: 'llama', isStream: true, asksUsage: true },
  ...{ startedAt: START, endedAt: START + 500, outcome: 'complete', sha256: SHA },
  ...part,
})
const execute = (service: string, beganAt: number, end: object | undefined = {}) => {
  const id = { service, file: `1-${beganAt}.ndjson`, execution: 1 }
  const begin = { ...id, at: 'begin', nonce: 'tower-1', beganAt, isLastOnConnection: false }
  const whole = {
    outcome: 'answered',
    bytes: 100,
    sha256: SHA,
    sha256WithoutUsage: SHA,
    endedAt: beganAt + 100,
  }
  return end === undefined ? [begin] : [begin, { ...id, at: 'end', ...whole, ...end }]
}
const run = (box: string, from: number, to?: number, service = 'llama') => ({
  service,
  box,
  pid: 1,
  from,
  to,
})
const harm = (deed: string, target: string, from = START - 100, to = START + 400): Harm => ({
  ...{ deed, target, from, to },
})

/** A request at tower that attic has answered. */
const sound: History = {
  records: [record()],
  lines: execute('attic/llama', START + 50),
  runs: [run('attic', START)],
  harms: [],
  sent: { tower: 1 },
}
const judge = (part: Partial<History> = {}): string[] => joinClusterLedgers({ ...sound, ...part }).violations

describe('the ledgers of three machines', () => {
  test('find nothing in a sound history', () => {
    expect(judge()).toEqual([])
    expect(judge({ records: [record({ outcome: 'left' })], lines: [] })).toEqual([])
  })

  const twice = [...execute('attic/llama', START + 50), ...execute('cellar/llama', START + 200)]
  test.each<[string, Partial<History>, RegExp]>([
    [
      'a request that was answered twice',
      { lines: twice },
      /executed by cellar\/llama after attic\/llama \(answered/,
    ],
    [
      'the same on one machine',
      { lines: [...execute('attic/llama', START + 50), ...execute('attic/llama', START + 200)] },
      /executed by attic\/llama after attic\/llama/,
    ],
    [
      'a request that was answered twice, with harm elsewhere',
      { lines: twice, harms: [harm('server killed', 'cellar')] },
      /executed by cellar\/llama after/,
    ],
    ['a request with two ends', { records: [record(), record()] }, /the client has two records of it/],
    [
      'a request without an end',
      { records: [], lines: [] },
      /request tower-1: its client has no record of it/,
    ],
    [
      'an execution that no client knows of',
      { records: [], sent: {} },
      /a server executed it, and no client knows of it/,
    ],
    ['an answer that no server gave', { lines: [] }, /complete, although no server executed it/],
    [
      'another answer than the server gave',
      { lines: execute('attic/llama', START + 50, { sha256: 'b' }) },
      /and no server sent that/,
    ],
    [
      'endless silence',
      { records: [record({ outcome: 'wrong', reason: 'no end after 60000 ms' })] },
      /no end after 60000 ms/,
    ],
    [
      'an error without a code',
      { records: [record({ outcome: 'refused', reason: 'the server said 500' })] },
      /refused without a code/,
    ],
    [
      'a refusal of a model that the machine has itself',
      { records: [record({ outcome: 'refused', reason: 'LEASEHOLD_OWNER_LOST' })], lines: [] },
      /before its first byte, by a machine to which nothing was done/,
    ],
    [
      'a stream that was cut without an error',
      { records: [record({ outcome: 'cut', reason: 'in the answer', isEventStream: true })] },
      /cut without a word/,
    ],
    [
      'the same when another machine was killed',
      {
        records: [record({ outcome: 'cut', reason: 'in the answer', isEventStream: true })],
        harms: [harm('machine killed', 'attic')],
      },
      /cut without a word/,
    ],
    [
      'the same in a drain of its own gateway',
      {
        records: [record({ outcome: 'cut', reason: 'in the answer', isEventStream: true })],
        harms: [harm('machine drained', 'tower')],
      },
      /cut without a word/,
    ],
    [
      'a model that was not asked for',
      { lines: execute('attic/quick', START + 50) },
      /executed by attic\/quick/,
    ],
    [
      'a machine that was not named',
      { records: [record({ model: 'cellar:llama' })] },
      /executed by attic\/llama/,
    ],
    [
      'two owners of one start',
      { runs: [run('attic', START), run('cellar', START + 100)] },
      /llama was started on cellar .* while it ran on attic/,
    ],
    [
      'a second server while the first one sleeps',
      { runs: [run('attic', START, undefined, 'drowsy'), run('cellar', START + 100, undefined, 'drowsy')] },
      /drowsy was started on cellar .* while it ran on attic/,
    ],
    [
      'two owners, a third machine being harmed',
      {
        runs: [run('attic', START), run('cellar', START + 100, START + 5_000)],
        harms: [harm('machine killed', 'tower')],
      },
      /llama was started on cellar/,
    ],
  ])('find %s', (_, part, violation) => {
    expect(judge(part).join('\n')).toMatch(violation)
  })

  test.each<[string, Partial<History>]>([
    [
      'a second execution when the first machine was killed',
      {
        lines: [...execute('attic/llama', START + 50, undefined), ...execute('cellar/llama', START + 200)],
        harms: [harm('machine killed', 'attic')],
      },
    ],
    [
      'a second start when NATS was killed',
      { runs: [run('attic', START), run('cellar', START + 100)], harms: [harm('NATS killed', 'NATS')] },
    ],
    [
      'a server that is being stopped while its successor starts',
      { runs: [run('attic', START, START + 900), run('cellar', START + 100)] },
    ],
    [
      'a stream that was cut when its own gateway was killed',
      {
        records: [record({ outcome: 'cut', reason: 'in the answer', isEventStream: true })],
        harms: [harm('machine killed', 'tower', START + 400)],
      },
    ],
    // It was withdrawn from there, and the machine reads it when it goes on.
    [
      'a late execution by a machine that stood still',
      {
        lines: [
          ...execute('tower/llama', START + 350),
          ...execute('attic/llama', START + 450, { outcome: 'aborted' }),
        ],
        harms: [harm('machine stood still', 'attic', START - 100, START + 400)],
      },
    ],
  ])('excuse %s', (_, part) => {
    expect(judge(part)).toEqual([])
  })

  test('do not excuse it when that machine went on before the request was sent', () => {
    const lines = [...execute('tower/llama', START + 350), ...execute('attic/llama', START + 450)]
    const harms = [harm('machine stood still', 'attic', START - 900, START - 1)]
    expect(judge({ lines, harms })).toHaveLength(1)
  })
})

describe('the end of three machines', () => {
  const soon = { limitMs: 0 }
  const find = async (look: (blame: (text: string) => void) => unknown) => {
    const found: string[] = []
    await look((text) => found.push(text))
    return found.join('\n')
  }
  const service = { service: 'llama', state: 'ready', leases: 0, queue: [] }
  const member = (name: string, state: string) => ({ member: name, state, problem: null })

  test.each([
    ['a lease of a gateway that is dead', { leases: 1 }, /llama of attic \(ready\): 1 leases, 0 waiting/],
    ['a request that waits', { queue: [{}] }, /0 leases, 1 waiting/],
  ])('is not there with %s', async (_, part, violation) => {
    const all = [{ name: 'attic', json: async () => ({ services: [service, { ...service, ...part }] }) }]
    expect(await find((blame) => untilQuiet({ all, blame, ...soon }))).toMatch(violation)
  })

  test('is not there while a member does not see another one', async () => {
    const see =
      (...states: string[]) =>
      async () => ({ members: states.map((state) => member('attic', state)) })
    const well = ['tower', 'attic'].map((name) => ({ name, json: see('open', 'open') }))
    expect(await find((blame) => untilWell({ all: well, blame, ...soon }))).toBe('')
    const parted = [...well.slice(1), { name: 'tower', json: see('open', 'lost') }]
    expect(await find((blame) => untilWell({ all: parted, blame, ...soon }))).toMatch(
      /tower sees .*attic lost/,
    )
    const silent = [
      ...well.slice(1),
      { name: 'tower', json: async () => Promise.reject(new Error('refused')) },
    ]
    expect(await find((blame) => untilWell({ all: silent, blame, ...soon }))).toMatch(/did not come together/)
  })

  test('is there when services and members are well', async () => {
    const all = [{ name: 'attic', json: async () => ({ services: [service] }) }]
    expect(await find((blame) => untilQuiet({ all, blame, ...soon }))).toBe('')
  })

  test.skipIf(!hasProcfs)('is not there with a process of a machine, which is ended', async () => {
    const folder = `/tmp/no-such-home-${process.pid}`
    const left = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { env: { HOME: folder } })
    await once(left, 'spawn')
    const exited = once(left, 'exit')
    const machine = { name: 'attic', folder }
    expect(await find((blame) => untilGone(machine, { blame, ...soon }))).toMatch(
      /a process of attic is left: \d+/,
    )
    await exited
    expect(await find((blame) => untilGone(machine, { blame, ...soon }))).toBe('')
  })

  test.skipIf(!hasNamespaces)('is not there with a namespace or a cable', async () => {
    const network = createNetwork(1)
    try {
      const found = await find((blame) => expectNoNetwork(network, { blame }))
      // The namespace, the bridge, and the end of the cable that is not in the namespace.
      expect(found.match(/a part of the network is left/g)).toHaveLength(3)
    } finally {
      network[Symbol.dispose]()
    }
    expect(await find((blame) => expectNoNetwork(network, { blame }))).toBe('')
  })
})
