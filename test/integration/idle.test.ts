import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { toText } from './library.ts'

/** How many listen to the signals and the end of a program after some code. Settles only when it ends by itself. */
function lookAfter(code: string) {
  const look = `
    ${code}
    await new Promise((resolve) => setImmediate(resolve))
    const names = ['SIGINT', 'SIGTERM', 'SIGHUP', 'exit', 'uncaughtException', 'unhandledRejection']
    const listeners = names.map((name) => [name, process.listenerCount(name)])
    console.log(JSON.stringify(listeners))`
  const toUrl = (file: string) => JSON.stringify(new URL(`../../dist/src/${file}`, import.meta.url).href)
  const program = look.replace('LIBRARY', toUrl('index.js')).replace('LOADER', toUrl('config/load.js'))
  const args = ['--input-type=module', '-e', program]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 25_000 })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return JSON.parse(stdout)
}

test.each([
  ['the import of the library', 'await import(LIBRARY)'],
  [
    'an idle supervisor',
    `const { createSupervisor } = await import(LIBRARY); const { parseConfig } = await import(LOADER); createSupervisor({ config: parseConfig(${JSON.stringify(toText(1))}) })`,
  ],
])('%s hears no signal and keeps no program from ending (promise P21)', (_, code) => {
  // Node itself listens while a program awaits at its top level.
  expect(lookAfter(code)).toEqual(lookAfter(''))
})
