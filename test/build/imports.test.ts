import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const program = fileURLToPath(new URL('../../src/build/imports.mjs', import.meta.url))

/** What the check prints of a tree of files, line by line. */
function check(files: Readonly<Record<string, string>>): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-imports-'))
  try {
    for (const [file, text] of Object.entries({ 'machines/chart.ts': '', 'src/clock.ts': '', ...files })) {
      mkdirSync(join(folder, dirname(file)), { recursive: true })
      writeFileSync(join(folder, file), text)
    }
    const { status, stderr } = spawnSync(process.execPath, [program, folder], { encoding: 'utf8' })
    const lines = stderr.split('\n').filter((line) => line !== '')
    expect(status).toBe(lines.length === 0 ? 0 : 1)
    return lines
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('this repository breaks no import rule', () => {
  expect(spawnSync(process.execPath, [program], { encoding: 'utf8' })).toMatchObject({
    status: 0,
    stderr: '',
  })
})

test.each<[string, Readonly<Record<string, string>>]>([
  [
    'a lower room',
    {
      'src/cli/main.ts': "import { a } from '../config/load.ts'\nimport { b } from '../../machines/chart.ts'",
    },
  ],
  ['a room of the same group', { 'src/lease/desk.ts': "import { a } from '../service/registry.ts'" }],
  [
    'a type of the public interface',
    { 'src/observe/log.ts': "import type { S } from '../supervisor/interface.ts'" },
  ],
  [
    'a cycle of types alone',
    {
      'src/text/a.ts': "import type { B } from './b.ts'",
      'src/text/b.ts': "import type { A } from './a.ts'",
    },
  ],
  [
    'a face that re-exports',
    {
      'src/gateway/index.ts':
        "/** The gateway. */\nexport { a } from './server.ts'\nexport type * from './api.ts'",
    },
  ],
])('%s is allowed', (_, files) => {
  expect(check(files)).toEqual([])
})

test.each<[string, Readonly<Record<string, string>>, string]>([
  [
    'machines/ that imports src/',
    { 'machines/a.ts': "import { clock } from '../src/clock.ts'" },
    'machines/a.ts: src/clock.ts: machines may not import clock',
  ],
  [
    'machines/ that imports a library',
    { 'machines/a.ts': "import 'rxjs'" },
    'machines/a.ts: rxjs: machines import xstate alone',
  ],
  [
    'a room that imports a higher one',
    { 'src/health/a.ts': "import { a } from '../service/b.ts'" },
    'src/health/a.ts: src/service/b.ts: health may not import service',
  ],
  [
    'a type of a higher room',
    { 'src/health/a.ts': "import type {\n  A,\n  B,\n} from '../service/b.ts'" },
    'src/health/a.ts: src/service/b.ts: health may not import service',
  ],
  [
    'a lazy import',
    { 'src/errors.ts': "const load = () => import('./cli/main.ts')" },
    'src/errors.ts: src/cli/main.ts: errors may not import cli',
  ],
  [
    'a re-export',
    { 'src/json/a.ts': "export * from '../compat/b.ts'" },
    'src/json/a.ts: src/compat/b.ts: json may not import compat',
  ],
  [
    'a room beside it',
    { 'src/compat/a.ts': "import { a } from '../config/b.ts'" },
    'src/compat/a.ts: src/config/b.ts: compat may not import config',
  ],
  [
    'testing outside of cli',
    { 'src/gateway/a.ts': "import { a } from '../testing/b.ts'" },
    'src/gateway/a.ts: src/testing/b.ts: only src/cli uses src/testing',
  ],
  [
    'the public face from inside',
    { 'src/cli/a.ts': "import { a } from '../index.ts'" },
    'src/cli/a.ts: src/index.ts: src/index.ts is for embedders',
  ],
  [
    'the executor’s view of xstate',
    { 'src/service/a.ts': "import { a } from '../statechart/xstate-internals.ts'" },
    'src/service/a.ts: src/statechart/xstate-internals.ts: xstate internals stay in src/statechart',
  ],
  [
    'a field that xstate does not document',
    { 'src/service/a.ts': 'const parent = actor._parent' },
    'src/service/a.ts: ._parent: xstate internals stay in src/statechart',
  ],
  [
    'undici outside of transport',
    { 'src/request/a.ts': "import { Agent } from 'undici'" },
    'src/request/a.ts: undici: only src/transport uses it',
  ],
  [
    'child processes outside of process',
    { 'src/service/a.ts': "import { spawn } from 'node:child_process'" },
    'src/service/a.ts: node:child_process: only src/process, src/testing uses it',
  ],
  [
    'a face that does more than re-export',
    { 'src/index.ts': 'export const answer = 42' },
    'src/index.ts: a public face only re-exports',
  ],
  [
    'a room that has no row',
    { 'src/attic/a.ts': "import { a } from '../clock.ts'" },
    'src/attic/a.ts: src/clock.ts: attic has no row in src/build/imports.mjs',
  ],
  [
    'a cycle',
    {
      'src/text/a.ts': "import { b } from './b.ts'",
      'src/text/b.ts': "import { c } from './c.ts'",
      'src/text/c.ts': "import { a } from './a.ts'",
    },
    'cycle: src/text/a.ts → src/text/b.ts → src/text/c.ts → src/text/a.ts',
  ],
  [
    'a name of two files',
    { 'src/config/load.ts': '', 'src/testing/server/load.tsx': '' },
    'src/config/load.ts and src/testing/server/load.tsx: two files are called load',
  ],
])('%s is refused', (_, files, problem) => {
  expect(check(files)).toEqual([problem])
})
