#!/usr/bin/env node
import { createRequire } from 'node:module'
import { CommanderError } from 'commander'
import { exitCodes, toErrorText, toExitCode } from './failures.ts'
import { createTerminal } from './print.ts'
import { createProgram } from './program.ts'

const { version }: { version: string } = createRequire(import.meta.url)('../../../package.json')
// Without a reader of the results there is nothing left to do; without one of the diagnostics there is.
// A terminal that was closed is no lost reader: it sends SIGHUP, which says what is to be done.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EIO') return
  // A reader that leaves early, as `head` does, has all it wants. A gateway that loses its reader has not succeeded.
  if (error.code === 'EPIPE') process.exit(process.argv[2] === 'serve' ? exitCodes.failed : exitCodes.ok)
  terminal.note(`The results cannot be written: ${error.message}`)
  process.exit(exitCodes.failed)
})
process.stderr.on('error', () => {})
const terminal = createTerminal(process.stdout, process.stderr, process.env)
const program = createProgram(version, terminal, (code) => {
  process.exitCode = code
})
try {
  await program.parseAsync(process.argv)
} catch (error) {
  // The argument parser has said what is wrong; help and version are what it calls errors, too.
  if (error instanceof CommanderError)
    process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  else {
    terminal.note(toErrorText(error, { withStack: process.env.LEASEHOLD_DEBUG === '1' }))
    process.exitCode = toExitCode(error)
  }
}
