import { spawn } from 'node:child_process'
import { argv } from 'node:process'
import { pathToFileURL } from 'node:url'
import { LeaseholdError } from '../errors.ts'
import { createModelServer } from './model-server/model-server.ts'
import { parseFlags } from './model-server/option-fields.ts'
import type { ModelServerOptions } from './model-server/options.ts'

/**
 * The demo model server as a program: `node demo-server.js --port 4142 --load-ms 2500`. Every option of the
 * model server is a flag. It logs to stderr, exits with 0 on SIGTERM or SIGINT without finishing anything,
 * with 1 on a second one, and with 1 when its flags are wrong, its port is taken or its load fails.
 */
export function runDemoServer(args: readonly string[]): void {
  // A reader of the log that has gone must not end a model server.
  process.stderr.on('error', () => undefined)
  const server = createModelServer(readOptions(args), {
    log,
    crash: (signal) => process.kill(process.pid, signal),
    exit: (code) => process.exit(code),
  })
  let signals = 0
  const onSignal = (): void => {
    const { ignoreSigterm, exitOnSigtermMs } = server.settings
    if (ignoreSigterm) {
      log('signal ignored')
      return
    }
    signals += 1
    log(signals === 1 ? 'cleaning up before exit' : 'second signal, exiting at once')
    if (signals > 1) process.exit(1)
    if (exitOnSigtermMs === 0) process.exit(0)
    setTimeout(() => process.exit(0), exitOnSigtermMs)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  if (server.settings.forkGrandchild !== null) forkGrandchild(server.settings.forkGrandchild)
  server.listen().catch((error: Error) => {
    log(`couldn't listen: ${error.message}`)
    process.exit(1)
  })
}

function readOptions(args: readonly string[]): ModelServerOptions {
  try {
    return parseFlags(args)
  } catch (error) {
    if (!(error instanceof LeaseholdError)) throw error
    log(`error: ${error.message}`)
    process.exit(1)
  }
}

/** It keeps the log open, as a worker process would: the end of the log comes after its end. */
function forkGrandchild(kind: 'group' | 'setsid'): void {
  const grandchild = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 600_000)'], {
    stdio: ['ignore', 'inherit', 'inherit'],
    detached: kind === 'setsid',
  })
  log(`grandchild ${grandchild.pid}`)
}

function log(line: string): void {
  process.stderr.write(`demo-server: ${line}\n`)
}

if (import.meta.url === pathToFileURL(argv[1] ?? '').href) runDemoServer(argv.slice(2))
