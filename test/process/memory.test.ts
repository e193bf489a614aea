import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { measureMemory, measurePeakMemory, parseGpuMemory, readGpuMemory } from '../../src/process/memory.ts'

const MIB = 1_048_576

test('the memory of a process grows by what it allocates, and no process uses none', async () => {
  const program = `process.stdin.once('data', () => { globalThis.kept = Buffer.alloc(${100 * MIB}, 1); console.log('done') }); console.log('up')`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] })
  try {
    await once(child.stdout, 'data')
    const before = await measureMemory([child.pid ?? 0])
    child.stdin.write('go\n')
    await once(child.stdout, 'data')
    const after = await measureMemory([child.pid ?? 0])
    expect(after - before).toBeGreaterThan(90 * MIB)
  } finally {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  expect(await measureMemory([child.pid ?? 0])).toBe(0)
  expect(await measureMemory([])).toBe(0)
})

test('the peak of a process is what it occupied at most, also after it gave the memory back', async () => {
  const program = `process.stdin.once('data', () => { let held = Buffer.alloc(${100 * MIB}, 1); held = null; globalThis.gc(); console.log('done') }); console.log('up')`
  const child = spawn(process.execPath, ['--expose-gc', '-e', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    await once(child.stdout, 'data')
    const before = await measurePeakMemory([child.pid ?? 0])
    child.stdin.write('go\n')
    await once(child.stdout, 'data')
    expect((await measurePeakMemory([child.pid ?? 0])) - before).toBeGreaterThan(90 * MIB)
  } finally {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  expect(await measurePeakMemory([child.pid ?? 0])).toBe(0)
})

test('what processes may share counts once', async () => {
  const one = await measureMemory([process.pid])
  const twice = await measureMemory([process.pid, process.pid])
  expect(twice).toBeGreaterThan(one)
  expect(twice).toBeLessThan(2 * one)
})

test('GPU memory is summed over the GPUs of a process, and is not known where that of one is not', () => {
  const csv = '101, 9000\n202, 512\n101, 1000\nNo devices were found\n\n'
  expect(parseGpuMemory(csv)).toEqual(
    new Map([
      [101, 10_000 * MIB],
      [202, 512 * MIB],
    ]),
  )
  expect(parseGpuMemory(`${csv}303, [N/A]\n`)).toBeNull()
})

test('nvidia-smi is asked for every process, and where it is missing or fails nothing is known', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-smi-'))
  try {
    const program = async (name: string, text: string) => {
      const file = join(folder, name)
      await writeFile(file, `#!/bin/sh\n${text}\n`)
      await chmod(file, 0o755)
      return file
    }
    const works = await program(
      'works',
      'case "$*" in "--query-compute-apps=pid,used_memory --format=csv,noheader,nounits") echo "7, 3";; esac',
    )
    expect(await readGpuMemory(works)).toEqual(new Map([[7, 3 * MIB]]))
    expect(await readGpuMemory(await program('fails', 'echo "7, 3"; exit 9'))).toBeNull()
    expect(await readGpuMemory(join(folder, 'missing'))).toBeNull()
  } finally {
    await rm(folder, { recursive: true })
  }
})
