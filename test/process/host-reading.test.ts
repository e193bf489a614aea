import { cpus, totalmem } from 'node:os'
import { expect, test } from 'vitest'
import {
  countCores,
  parseThreadTimes,
  parseTraffic,
  readHost,
  readHostFacts,
} from '../../src/process/host-reading.ts'

test('the time of each thread is told without that of guests, which is part of that of users', () => {
  const stat = `cpu  30 0 30 130 10 0 0 0 5 0
cpu0 10 2 20 60 8 1 3 4 5 0
cpu11 20 0 10 70 0 0 0 0 0 0
intr 1 2 3
`
  expect(parseThreadTimes(stat)).toEqual([
    { busy: 40, total: 108 },
    { busy: 30, total: 100 },
  ])
})

test('traffic is that of interfaces that carry some, without the ones inside the host', () => {
  const line = (name: string, received: number, sent: number) =>
    `${name.padStart(6)}: ${received} 1 0 0 0 0 0 0 ${sent} 2 0 0 0 0 0 0`
  const netDev = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs',
    line('lo', 9, 9),
    line('eth0', 1000, 20),
    line('wlan0', 0, 0),
    line('veth12', 5, 5),
    line('br-3f', 5, 5),
    line('tun0', 7, 0),
  ].join('\n')
  expect(parseTraffic(netDev)).toEqual([
    { name: 'eth0', receivedBytes: 1000, sentBytes: 20 },
    { name: 'tun0', receivedBytes: 7, sentBytes: 0 },
  ])
})

test('cores are counted once for all of their threads, in each socket', () => {
  const blocks = [
    [0, 0],
    [0, 0],
    [0, 1],
    [1, 0],
  ].map(([socket, core], index) => `processor\t: ${index}\nphysical id\t: ${socket}\ncore id\t\t: ${core}`)
  expect(countCores(`${blocks.join('\n\n')}\n`)).toEqual({ physicalCores: 3, sockets: 2 })
  expect(countCores('processor\t: 0\nBogoMIPS\t: 48.00\n')).toEqual({ physicalCores: null, sockets: null })
})

test('this host is read', async () => {
  const facts = await readHostFacts()
  expect(facts.threads).toBe(cpus().length)
  expect(facts.memoryMiB).toBeGreaterThan(0)
  expect(facts.memoryMiB).toBeLessThanOrEqual(Math.ceil(totalmem() / 1_048_576))
  expect(facts.os).not.toBe('')
  const reading = await readHost()
  expect(reading.threads).toHaveLength(facts.threads)
  expect(reading.threads.every(({ busy, total }) => busy >= 0 && total >= busy)).toBe(true)
  expect(reading.memoryUsedMiB).toBeGreaterThan(0)
  expect(reading.memoryUsedMiB).toBeLessThan(facts.memoryMiB)
})
