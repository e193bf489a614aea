import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Answers of a GPU by the names of nvidia-smi's columns. What is missing is `[N/A]`. */
export type FakeGpu = Readonly<Record<string, string>>

/** Columns that drivers know since 2014. */
const KNOWN = [
  'index',
  'name',
  'memory.total',
  'memory.used',
  'driver_version',
  'utilization.gpu',
  'temperature.gpu',
  'power.draw',
  'power.limit',
  'fan.speed',
]

/**
 * A folder for programs that stand in for `nvidia-smi`. Like the real one they print the columns that are asked for, in
 * that order, and fail with an exit code for a column that they do not know.
 */
export async function createSmiFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'leasehold-smi-'))
  const write = async (name: string, script: string) => {
    await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
    return join(folder, name)
  }
  return {
    folder,
    write,
    writeNvidiaSmi: (gpus: readonly FakeGpu[], name = 'nvidia-smi') => {
      const rows = gpus.map((gpu) => {
        const cases = KNOWN.map((column) => `${column}) value='${gpu[column] ?? '[N/A]'}' ;;`)
        const unknown = `*) echo "Field \\"$column\\" is not a valid field to query."; exit 2 ;;`
        return `line=
for column in $columns; do
  case $column in ${cases.join(' ')} ${unknown} esac
  line="\${line:+$line, }$value"
done
echo "$line"`
      })
      const asked = `echo "$@" >> '${join(folder, 'asked')}'
columns=$(echo "$1" | sed 's/^--query-gpu=//; s/,/ /g')
[ "$2" = --format=csv,noheader,nounits ] || { echo 'Invalid combination of input arguments.'; exit 6; }`
      return write(name, [asked, ...rows].join('\n'))
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}
