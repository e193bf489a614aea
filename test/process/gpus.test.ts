import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseAppleGpu, parseNvidiaGpus, parseRocmGpus, readGpus } from '../../src/process/gpus.ts'
import { createSmiFolder } from './fake-smi.ts'

const rocm = JSON.stringify({
  card0: {
    'Temperature (Sensor edge) (C)': '38.0',
    'Temperature (Sensor junction) (C)': '41.0',
    'Temperature (Sensor memory) (C)': '44.0',
    'Fan speed (level)': '51',
    'Fan speed (%)': '20',
    'Max Graphics Package Power (W)': '327.0',
    'Average Graphics Package Power (W)': '21.5',
    'GPU use (%)': '3',
    'VRAM Total Memory (B)': String(24 * 2 ** 30),
    'VRAM Total Used Memory (B)': String(2 ** 30),
    'Card Series': 'Radeon RX 7900 XTX',
  },
  card1: {
    'Temperature (Sensor junction) (C)': '50.0',
    'Current Socket Graphics Package Power (W)': '140.0',
    'GPU use (%)': 'N/A',
    'VRAM Total Memory (B)': 'N/A',
    'Card Series': 'N/A',
    'Card Model': '0x74b5',
  },
  system: { 'Driver version': '6.7.0' },
})

/** As `ioreg` prints it, without most of its properties. */
const apple = `+-o AGXAcceleratorG14X  <class AGXAcceleratorG14X, id 0x1000009a1, registered, matched, active, busy 0>
    {
      "gpu-core-count" = 30
      "model" = "Apple M2 Max"
      "PerformanceStatistics" = {"In use system memory (driver)"=0,"Alloc system memory"=14511046656,"Tiler Utilization %"=34,"Device Utilization %"=36,"In use system memory"=7340032000}
    }
`

const unknown = {
  utilisationPercent: null,
  temperatureC: null,
  memoryTemperatureC: null,
  powerWatts: null,
  powerLimitWatts: null,
  fanPercent: null,
}

test('the GPUs of nvidia-smi have their names, amounts and driver, and null for what a GPU does not tell', () => {
  const csv = [
    '0, NVIDIA H200, 143771, 512, 570.86.15, 87, 41, 351.29, 700.00, [N/A]',
    '1, Odd, Name, [N/A], [N/A], 570.86.15, [Not Supported], 38, [Unknown Error], [N/A], 0',
    'Unable to determine the device handle for GPU0000:41:00.0: Unknown Error',
    '',
  ].join('\n')
  expect(parseNvidiaGpus(csv)).toEqual({
    driver: '570.86.15',
    list: [
      {
        ...unknown,
        index: 0,
        name: 'NVIDIA H200',
        totalMiB: 143_771,
        usedMiB: 512,
        utilisationPercent: 87,
        temperatureC: 41,
        powerWatts: 351.29,
        powerLimitWatts: 700,
      },
      {
        ...unknown,
        index: 1,
        name: 'Odd, Name',
        totalMiB: null,
        usedMiB: null,
        temperatureC: 38,
        fanPercent: 0,
      },
    ],
  })
  expect(parseNvidiaGpus('No devices were found\n')).toBeUndefined()
})

test('the GPUs of rocm-smi have their names and amounts', () => {
  const first = {
    index: 0,
    name: 'Radeon RX 7900 XTX',
    totalMiB: 24_576,
    usedMiB: 1_024,
    utilisationPercent: 3,
    temperatureC: 38,
    memoryTemperatureC: 44,
    powerWatts: 21.5,
    powerLimitWatts: 327,
    fanPercent: 20,
  }
  const second = {
    ...unknown,
    index: 1,
    name: '0x74b5',
    totalMiB: null,
    usedMiB: null,
    temperatureC: 50,
    powerWatts: 140,
  }
  expect(parseRocmGpus(`WARNING: AMD GPU device(s) is/are in a low-power state\n\n${rocm}`)).toEqual([
    first,
    second,
  ])
  expect(parseRocmGpus('ERROR: no driver')).toEqual([])
})

test('the GPU of a Mac has its name and load, and shares the memory of the host', () => {
  expect(parseAppleGpu(apple, 32 * 2 ** 30)).toEqual({
    ...unknown,
    index: 0,
    name: 'Apple M2 Max, 30 GPU cores',
    totalMiB: 32_768,
    usedMiB: 7_000,
    utilisationPercent: 36,
  })
  expect(parseAppleGpu('', 1)).toBeUndefined()
})

test.runIf(process.platform === 'linux')(
  'rocm-smi is asked where nvidia-smi is missing or fails, and ioreg where that fails too',
  async () => {
    await using smi = await createSmiFolder()
    const nvidia = await smi.writeNvidiaSmi([
      { index: '0', name: 'NVIDIA H200', driver_version: '570.86.15', 'memory.total': '143771' },
    ])
    const broken = await smi.write('broken', 'echo "NVIDIA-SMI has failed"; exit 9')
    const rocmSmi = await smi.write('amd', `echo '${rocm}'`)
    expect(await readGpus(nvidia, { rocmSmi })).toMatchObject({ program: nvidia, driver: '570.86.15' })
    expect(await readGpus(broken, { rocmSmi })).toMatchObject({
      program: rocmSmi,
      list: [{ totalMiB: 24_576 }, { totalMiB: null }],
    })
    const none = join(smi.folder, 'none')
    expect(await readGpus(none, { rocmSmi: broken })).toBeNull()
    const ioreg = await smi.write('ioreg', `[ "$*" = "-r -c IOGPU -d 1 -f" ] && echo '${apple}'`)
    expect(await readGpus(none, { rocmSmi: broken, ioreg })).toMatchObject({
      program: ioreg,
      list: [{ utilisationPercent: 36 }],
    })
    expect(await readGpus(none, { rocmSmi: broken, ioreg: broken })).toBeNull()
  },
)
