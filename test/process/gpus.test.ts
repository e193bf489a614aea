import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { parseNvidiaGpus, parseRocmGpus, readGpus } from '../../src/process/gpus.ts'

const rocm = JSON.stringify({
  card0: {
    'Card Series': 'Radeon RX 7900 XTX',
    'VRAM Total Memory (B)': String(24 * 2 ** 30),
    'VRAM Total Used Memory (B)': String(2 ** 30),
  },
  system: { 'Driver version': '6.7.0' },
})

test('the GPUs of nvidia-smi have their names, memory and driver', () => {
  expect(
    parseNvidiaGpus('NVIDIA H200, 143771, 512, 570.86.15\nOdd, Name, 24576, [N/A], 570.86.15\n'),
  ).toEqual({
    driver: '570.86.15',
    list: [
      { name: 'NVIDIA H200', totalMiB: 143_771, usedMiB: 512 },
      { name: 'Odd, Name', totalMiB: 24_576, usedMiB: 0 },
    ],
  })
  expect(parseNvidiaGpus('No devices were found\n')).toBeUndefined()
})

test('the GPUs of rocm-smi have their names and memory', () => {
  expect(parseRocmGpus(rocm)).toEqual([{ name: 'Radeon RX 7900 XTX', totalMiB: 24_576, usedMiB: 1_024 }])
  expect(parseRocmGpus('ERROR: no driver')).toEqual([])
})

test.runIf(process.platform === 'linux')(
  'rocm-smi is asked where nvidia-smi is missing or fails',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'leasehold-gpus-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const write = async (name: string, script: string) => {
      await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
      return join(folder, name)
    }
    const nvidia = await write('nvidia', 'echo "NVIDIA H200, 143771, 512, 570.86.15"')
    const broken = await write('broken', 'echo "NVIDIA-SMI has failed"; exit 9')
    const amd = await write('amd', `echo '${rocm}'`)
    expect(await readGpus(nvidia, amd)).toMatchObject({ program: nvidia, driver: '570.86.15' })
    expect(await readGpus(broken, amd)).toMatchObject({ program: amd, list: [{ totalMiB: 24_576 }] })
    expect(await readGpus(join(folder, 'none'), broken)).toBeNull()
  },
)
