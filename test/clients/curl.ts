import { execFile, spawnSync } from 'node:child_process'

/** Whether this host has curl; tests of it are skipped where it is missing. */
export const hasCurl = spawnSync('curl', ['--version']).status === 0

/** How a run of curl ended: `18` stands for an answer that was cut off. */
export interface CurlRun {
  readonly exitCode: number
  /** What it printed, one byte per character. */
  readonly text: string
}

/** Runs curl without its progress meter, with these arguments. */
export function runCurl(...args: readonly string[]): Promise<CurlRun> {
  return new Promise((resolve, reject) => {
    execFile('curl', ['--silent', ...args], { encoding: 'latin1' }, (error, text) => {
      const exitCode = error === null ? 0 : error.code
      if (typeof exitCode === 'number') resolve({ exitCode, text })
      else reject(error)
    })
  })
}
