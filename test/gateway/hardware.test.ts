import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Hardware } from '../../src/observe/hardware.ts'
import { createSmiFolder } from '../process/fake-smi.ts'
import { openHouseWithServer } from './house.ts'

const look = async (url: string, query = ''): Promise<Hardware> => {
  const response = await fetch(`${url}/api/hardware${query}`)
  expect(response.status).toBe(200)
  return (await response.json()) as Hardware
}

test.runIf(process.platform === 'linux')(
  'the hardware is told with its GPUs as nvidia-smi tells them, and goes on while it is looked at',
  async () => {
    await using smi = await createSmiFolder()
    const nvidiaSmi = await smi.writeNvidiaSmi([
      {
        index: '0',
        name: 'NVIDIA H200',
        driver_version: '570.86.15',
        'memory.total': '143771',
        'memory.used': '512',
        'utilization.gpu': '87',
        'temperature.gpu': '41',
        'power.draw': '351.29',
        'power.limit': '700.00',
      },
      { index: '1', name: 'NVIDIA GB10', driver_version: '570.86.15', 'utilization.gpu': '3' },
    ])
    await using house = await openHouseWithServer({ leasehold: { nvidiaSmi } })
    // Nothing is asked before the first look.
    await expect(readFile(join(smi.folder, 'asked'))).rejects.toThrow('ENOENT')
    const first = await look(house.url)
    expect(first.gpus).toEqual({
      program: nvidiaSmi,
      driver: '570.86.15',
      list: [
        { index: 0, name: 'NVIDIA H200', memoryMiB: 143_771, powerLimitWatts: 700 },
        { index: 1, name: 'NVIDIA GB10', memoryMiB: null, powerLimitWatts: null },
      ],
    })
    expect(first.samples).toHaveLength(1)
    expect(first.samples[0]?.gpus).toMatchObject([
      { index: 0, memoryUsedMiB: 512, utilisationPercent: 87, temperatureC: 41, powerWatts: 351.29 },
      { index: 1, memoryUsedMiB: null, utilisationPercent: 3, temperatureC: null, fanPercent: null },
    ])
    expect(first.samples[0]?.atMs).toBeLessThanOrEqual(first.atMs)
    expect(first.atMs).toBeLessThanOrEqual(house.supervisor.snapshot().atMs)

    const next = async () => (await look(house.url, `?after=${first.samples[0]?.atMs}`)).samples
    await expect.poll(async () => (await next()).length, { timeout: 30_000 }).toBeGreaterThan(0)
    const [second] = await next()
    expect(second?.cpuPercent).toBeGreaterThanOrEqual(0)
    expect(second?.threadPercents).toHaveLength(first.host.threads)
    expect(second?.gpus).toHaveLength(2)
  },
)

test('where no program tells of a GPU, only the host is told', async () => {
  await using house = await openHouseWithServer({ leasehold: { nvidiaSmi: '/nonexistent/nvidia-smi' } })
  const { gpus, host, samples } = await look(house.url)
  expect(gpus).toBeNull()
  expect(host.threads).toBeGreaterThan(0)
  expect(samples).toMatchObject([{ cpuPercent: null, gpus: [] }])
  expect(samples[0]?.memoryUsedMiB).toBeGreaterThan(0)
})
