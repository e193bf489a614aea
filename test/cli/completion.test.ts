import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { createPlace } from './command-line.ts'

const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url))
const canary = '$(touch evaluated)'

/** A place with `leasehold` on PATH and two services. */
async function createShellPlace() {
  const place = await createPlace()
  const toProvider = (port: number, models: readonly object[]) => ({
    baseUrl: `http://127.0.0.1:${port}/v1`,
    models,
    localService: { command: process.execPath },
  })
  const providers = {
    qwen: toProvider(9, [{ id: 'qwen3', alias: 'gpt-4o' }]),
    gemma: toProvider(10, [{ id: 'gemma3' }]),
  }
  place.write('leasehold.json5', JSON.stringify({ models: { providers } }))
  const folder = join(place.folder, 'bin')
  mkdirSync(folder)
  const program = join(folder, 'leasehold')
  writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`)
  chmodSync(program, 0o755)
  const env = { PATH: `${folder}:${process.env.PATH}`, HOME: place.folder, TERM: 'dumb' }
  const run = (command: string, args: readonly string[]) => {
    const { stdout, stderr } = spawnSync(command, args, { cwd: place.folder, env, encoding: 'utf8' })
    expect(stderr).toBe('')
    return stdout.split('\n').filter((line) => line !== '')
  }
  return { place, run, [Symbol.asyncDispose]: () => place[Symbol.asyncDispose]() }
}

/** How a shell is asked what it offers for a line. */
const shells = {
  // Read twice, as by a nested shell: that must be no error.
  bash: (line: string) => [
    '--norc',
    '-c',
    `eval "$(leasehold completion bash)"; eval "$(leasehold completion bash)"
     COMP_WORDS=(${quoteWords(line)}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
     _leasehold_completion; printf '%s\n' "\${COMPREPLY[@]}"`,
  ],
  zsh: (line: string) => [
    '-f',
    '-c',
    `compdef() { }; _describe() { print -rl -- \${completions%%:*} }; _arguments() { }
     eval "$(leasehold completion zsh)"
     words=(${quoteWords(line)}); CURRENT=$#words; _leasehold`,
  ],
  fish: (line: string) => [
    '--no-config',
    '-c',
    `leasehold completion fish | source; complete --do-complete '${line}' | string replace -r '\\t.*' ''`,
  ],
} as const

function quoteWords(line: string): string {
  return line
    .split(' ')
    .map((word) => `'${word}'`)
    .join(' ')
}

describe.each(Object.keys(shells) as (keyof typeof shells)[])('in a real %s', (shell) => {
  const isThere = spawnSync(shell, ['--version']).error === undefined
  const title = isThere ? 'completes' : `completes (there is no ${shell})`
  test.skipIf(!isThere)(`${title} commands, options, their values, services and models`, async () => {
    await using setting = await createShellPlace()
    const offers = (line: string) => setting.run(shell, shells[shell](line)).toSorted()
    expect(offers('leasehold st')).toEqual(['start', 'status', 'stop'])
    expect(offers('leasehold config ')).toEqual(['print', 'schema', 'validate'])
    expect(offers('leasehold serve --log-')).toEqual(['--log-format', '--log-level'])
    expect(offers('leasehold serve --log-level ')).toEqual(['debug', 'error', 'info', 'warn'])
    expect(offers('leasehold start ')).toEqual(['gemma', 'gemma/gemma3', 'gpt-4o', 'qwen', 'qwen/qwen3'])
    expect(offers('leasehold stop --force q')).toEqual(['qwen', 'qwen/qwen3'])
    expect(offers('leasehold infer model run --model g')).toEqual(['gemma', 'gemma/gemma3', 'gpt-4o'])
  })
})

test('a line with a command in it is not evaluated by bash, and a broken configuration has no names', async () => {
  await using setting = await createShellPlace()
  setting.run('bash', shells.bash(`leasehold start ${canary.replaceAll(' ', '\t')} q`))
  expect(setting.run('ls', [])).not.toContain('evaluated')
  setting.place.write('leasehold.json5', '{ models: ')
  expect(setting.run('bash', shells.bash('leasehold start '))).toEqual([])
  expect(setting.run('bash', shells.bash('leasehold sto'))).toEqual(['stop'])
})

test('names follow the configuration of the line; where nothing is known to fit, a file may', async () => {
  await using setting = await createShellPlace()
  const { place } = setting
  const other = {
    models: { providers: { only: { baseUrl: 'http://127.0.0.1:9/v1', models: [{ id: 'm' }] } } },
  }
  place.write('other.json5', JSON.stringify(other))
  const complete = async (...words: string[]) => (await place.run('complete', '--', ...words)).stdout
  expect(await complete('start', '--config', 'other.json5', '')).toBe('only\tservice\nonly/m\tmodel\n:4\n')
  expect(await complete('start', '--config=other.json5', 'only/')).toBe('only/m\tmodel\n:4\n')
  expect(await complete('serve', '--config', '')).toBe(':0\n')
  expect(await complete('complet')).toMatch(/^completion\t.*\n:4\n$/)
})
