import { expect, test } from 'vitest'
import { createHardwareWatch } from '../../src/observe/hardware.ts'
import type { Gpus } from '../../src/process/gpus.ts'
import type { HostFacts, HostReading } from '../../src/process/host-reading.ts'
import { createVirtualClock, settle } from '../../src/testing/virtual-clock.ts'

const facts: HostFacts = {
  os: 'Debian GNU/Linux 12',
  kernel: 'Linux 6.1',
  architecture: 'x64',
  environment: null,
  cpu: 'AMD EPYC',
  threads: 2,
  physicalCores: 1,
  sockets: 1,
  memoryMiB: 1_000,
  swapMiB: 0,
}
const gpu = {
  index: 0,
  name: 'NVIDIA H200',
  totalMiB: 143_771,
  usedMiB: 512,
  utilisationPercent: 87,
  temperatureC: 41,
  memoryTemperatureC: null,
  powerWatts: 351.29,
  powerLimitWatts: 700,
  fanPercent: null,
}
const nvidia: Gpus = { program: 'nvidia-smi', driver: '570.86.15', list: [gpu] }

/** A watch on a virtual clock. Of its two threads one works half of the time, and one a third of it. */
function createWatch(read: () => Gpus | null | Promise<Gpus | null> = () => nvidia) {
  const clock = createVirtualClock()
  const readings: number[] = []
  const signals: AbortSignal[] = []
  const readHost = async (): Promise<HostReading> => {
    const ms = clock.now()
    readings.push(ms)
    return {
      threads: [
        { busy: ms / 2, total: ms },
        { busy: ms / 3, total: ms },
      ],
      load: [1, 2, 3],
      memoryUsedMiB: 400,
      swapUsedMiB: 0,
      traffic: [{ name: 'eth0', receivedBytes: ms * 2, sentBytes: ms }],
    }
  }
  const watch = createHardwareWatch({
    clock,
    nowMs: clock.now,
    readHostFacts: async () => facts,
    readHost,
    readGpus: async (signal) => {
      signals.push(signal)
      return read()
    },
  })
  return { clock, watch, readings, signals }
}

test('nothing is read before the first look, and nothing 20 s after the last one', async () => {
  const { clock, watch, readings } = createWatch()
  await clock.advanceTo(10_000)
  expect([readings, clock.pending]).toEqual([[], 0])

  const { samples } = await watch.look()
  expect(samples).toMatchObject([{ atMs: 10_000, cpuPercent: null, threadPercents: null, network: null }])
  await clock.advanceTo(22_000)
  expect(readings).toEqual([10_000, 11_000, 16_000, 21_000])
  // A look in between goes on with the same samples.
  await watch.look()
  await clock.advanceTo(41_999)
  expect(readings.slice(4)).toEqual([26_000, 31_000, 36_000, 41_000])
  await clock.advanceTo(300_000)
  expect([readings.length, clock.pending]).toEqual([8, 0])

  // The next look begins anew: what was used meanwhile is not the load of one moment.
  const later = await watch.look(41_000)
  expect(later.samples).toMatchObject([{ atMs: 300_000, cpuPercent: null }])
  watch.close()
  expect(clock.pending).toBe(0)
})

test('a sample has what was used since the one before', async () => {
  const { clock, watch } = createWatch()
  await watch.look()
  await clock.advanceTo(1_000)
  const { host, gpus, everyMs, samples } = await watch.look(0)
  expect({ host, gpus, everyMs }).toEqual({
    host: facts,
    gpus: {
      program: 'nvidia-smi',
      driver: '570.86.15',
      list: [{ index: 0, name: 'NVIDIA H200', memoryMiB: 143_771, powerLimitWatts: 700 }],
    },
    everyMs: 5_000,
  })
  expect(samples).toEqual([
    {
      atMs: 1_000,
      cpuPercent: 41.7,
      threadPercents: [50, 33],
      load: [1, 2, 3],
      memoryUsedMiB: 400,
      swapUsedMiB: 0,
      network: [{ name: 'eth0', receivedPerSecond: 2_000, sentPerSecond: 1_000 }],
      gpus: [
        {
          index: 0,
          memoryUsedMiB: 512,
          utilisationPercent: 87,
          temperatureC: 41,
          memoryTemperatureC: null,
          powerWatts: 351.29,
          fanPercent: null,
        },
      ],
    },
  ])
  watch.close()
})

test('where there is no GPU there is the host, and a GPU that stops answering leaves a gap', async () => {
  const host = createWatch(() => null)
  expect(await host.watch.look()).toMatchObject({ gpus: null, samples: [{ memoryUsedMiB: 400, gpus: [] }] })
  host.watch.close()

  let answer: Gpus | null = nvidia
  const lost = createWatch(() => answer)
  await lost.watch.look()
  answer = null
  await lost.clock.advanceTo(1_000)
  expect(await lost.watch.look()).toMatchObject({
    gpus: { list: [{ name: 'NVIDIA H200' }] },
    samples: [{ gpus: [{ index: 0 }] }, { gpus: [] }],
  })
  lost.watch.close()
})

test('a program that hangs holds up the next sample only, and is ended when the watch is closed', async () => {
  const hanging: ((gpus: Gpus) => void)[] = []
  const { clock, watch, readings, signals } = createWatch(
    () => new Promise((resolve) => hanging.push(resolve)),
  )
  const looks = [watch.look(), watch.look()]
  await clock.advanceTo(12_000)
  expect(readings).toEqual([0])
  hanging[0]?.(nvidia)
  const [first] = await Promise.all(looks)
  expect(first?.samples).toHaveLength(1)
  await clock.advanceTo(16_000)
  expect(readings).toEqual([0, 16_000])
  const last = watch.look(1)
  watch.close()
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
  // Nothing is waited for after the end.
  expect((await last).samples).toEqual([])
  expect((await watch.look(1)).samples).toEqual([])
  await settle()
  expect([readings.length, clock.pending]).toEqual([2, 0])
})

test('the samples of one hour are kept', async () => {
  const { clock, watch } = createWatch()
  for (let ms = 0; ms <= 2 * 3_600_000; ms += 15_000) {
    await clock.advanceTo(ms)
    await watch.look()
  }
  const { samples } = await watch.look()
  expect(samples).toHaveLength(720)
  expect(samples[0]?.atMs).toBeGreaterThan(3_600_000 - 15_000)
  watch.close()
})
