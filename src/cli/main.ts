#!/usr/bin/env node
import { createRequire } from 'node:module'
import { CommanderError } from 'commander'
import { exitCodes, findExitCode, formatError } from './exit-codes.ts'
import { createProgram } from './program.ts'
import { createTerminal } from './terminal.ts'

const { version }: { version: string } = createRequire(import.meta.url)('../../../package.json')
// Without a reader of the results the command ends; without a reader of the diagnostics it goes on.
// A closed terminal is not treated as a lost reader: it sends SIGHUP.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EIO') return
  // A reader that leaves early, as `head` does, is a success; for a gateway it is a failure.
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
  // The argument parser has printed the error; it also throws for help and version.
  if (error instanceof CommanderError)
    process.exitCode = error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  else {
    terminal.note(formatError(error, { withStack: process.env.LEASEHOLD_DEBUG === '1' }))
    process.exitCode = findExitCode(error)
  }
}
