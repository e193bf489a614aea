// @module-tag proof
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { findFreePort } from '../../src/testing/real-host.ts'
import { launch } from '../cli/command-line.ts'
import { hasNatsServer, natsProgram } from './nats-server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const page = readFileSync(join(root, 'src/cluster/README.md'), 'utf8')
const [install = '', ...blocks] = [...page.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block)

test.skipIf(!hasNatsServer)('the five minutes of the page give one endpoint over three members', async () => {
  expect(install).toBe('npm install @nats-io/transport-node @nats-io/kv\n')
  const folder = mkdtempSync(join(tmpdir(), 'leasehold-walk-'))
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  symlinkSync(join(root, 'dist/src/cli/main.js'), join(bin, 'leasehold'))
  symlinkSync(natsProgram, join(bin, 'nats-server'))
  const ports = new Map<string, string>()
  for (const port of ['4141', '4142', '4143', '4222']) ports.set(port, String(await findFreePort()))
  const toText = (block: string) =>
    block
      // A free port may have five digits already.
      .replaceAll('firstPort: 1${box#*:}', 'firstPort: $((${box#*:} + 1))')
      .replaceAll(/\b4(?:14[123]|222)\b/g, (port) => ports.get(port) ?? port)
  const listening = ['4141', '4142', '4143']
    .map((port) => `until curl -sf http://127.0.0.1:${ports.get(port)}/health; do sleep 0.1; done`)
    .join('\n')
  const joined = `until [ $(leasehold members --config attic.json5 | grep -c ' open ') = 3 ]; do sleep 0.1; done`
  const [files = '', start = '', use = '', security = ''] = blocks.map(toText)
  const script = [
    'set -e',
    "trap 'kill $(jobs -p); wait' EXIT",
    files,
    start,
    listening,
    joined,
    use,
    security,
  ].join('\n')
  writeFileSync(join(folder, 'walk.sh'), script)
  const env = {
    PATH: `${bin}:${process.env.PATH}`,
    HOME: folder,
    XDG_STATE_HOME: join(folder, 'state'),
    NO_COLOR: '1',
  }
  const { code, stdout, stderr } = await launch('bash', ['walk.sh'], { cwd: folder, env }).ended
  expect({ code, stdout, stderr }).toMatchObject({ code: 0 })
  expect(stdout).toContain('6 * 7 = 42.')
  expect(stdout).toMatch(/^attic \(this one\) +open .*\n(?:.*\n)*cellar .*\n(?:.*\n)*tower /m)
  expect(stdout).toMatch(/^(?:tower|attic|cellar) +demo +ready/m)
  expect(stdout).toMatch(/^tower \(this one\) +draining/m)
  expect(readFileSync(join(folder, 'nats.conf'), 'utf8')).toContain('nkey: "U')
  rmSync(folder, { recursive: true })
})
