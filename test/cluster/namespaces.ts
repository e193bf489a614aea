import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'

/** Machines on one network: network namespaces with a cable each to a bridge. */
export interface Network extends Disposable {
  /** Address of the side that tests and NATS are on. */
  readonly hub: string
  /** Words before a program that runs on a machine, and the address of that machine. */
  readonly machines: readonly Machine[]
  /** Namespaces and links of its name that are there. None when it is disposed of. */
  listLeft(): readonly string[]
}

export interface Machine {
  readonly address: string
  readonly prefix: readonly string[]
  /** Pulls its cable, or puts it back. */
  plug(isIn: boolean): void
  /** Nothing reaches an address from here any more, while everything else does. */
  cutFrom(address: string): void
  /** Undoes `cutFrom`. */
  mend(address: string): void
}

/** Whether this process may make network namespaces. */
export const hasNamespaces = (() => {
  const name = `lh-${randomBytes(3).toString('hex')}`
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return false
  const isVeth = spawnSync('ip', ['link', 'add', `${name}a`, 'type', 'veth', 'peer', 'name', `${name}b`])
  spawnSync('ip', ['link', 'del', `${name}a`])
  spawnSync('ip', ['netns', 'del', name])
  return isVeth.status === 0
})()

/** A machine's network has a name of its own, so that tests in parallel do not meet. */
export function createNetwork(count: number): Network {
  const id = randomBytes(3).toString('hex')
  const net = `10.${200 + Math.floor(Math.random() * 50)}.${Math.floor(Math.random() * 255)}`
  const bridge = `lh${id}br`
  const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' })
  ip('link', 'add', bridge, 'type', 'bridge')
  ip('addr', 'add', `${net}.254/24`, 'dev', bridge)
  ip('link', 'set', bridge, 'up')
  const machines = Array.from({ length: count }, (_, index): Machine => {
    const name = `lh-${id}-${index}`
    const outer = `lh${id}o${index}`
    const inner = `lh${id}i${index}`
    const address = `${net}.${index + 1}`
    ip('netns', 'add', name)
    ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', inner)
    ip('link', 'set', inner, 'netns', name)
    ip('link', 'set', outer, 'master', bridge)
    ip('link', 'set', outer, 'up')
    ip('netns', 'exec', name, 'ip', 'addr', 'add', `${address}/24`, 'dev', inner)
    ip('netns', 'exec', name, 'ip', 'link', 'set', inner, 'up')
    ip('netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'up')
    return {
      address,
      prefix: ['ip', 'netns', 'exec', name],
      cutFrom: (far) => ip('netns', 'exec', name, 'ip', 'route', 'add', 'blackhole', `${far}/32`),
      mend: (far) => ip('netns', 'exec', name, 'ip', 'route', 'del', 'blackhole', `${far}/32`),
      plug: (isIn) => ip('link', 'set', outer, isIn ? 'up' : 'down'),
    }
  })
  return {
    hub: `${net}.254`,
    machines,
    listLeft: () =>
      [
        ['netns', 'list'],
        ['-oneline', 'link'],
      ].flatMap((args) =>
        ip(...args)
          .toString()
          .split('\n')
          .filter((line) => line.includes(id)),
      ),
    [Symbol.dispose]: () => {
      for (let index = 0; index < count; index += 1) {
        // The kernel removes the links of a namespace some time after it.
        spawnSync('ip', ['link', 'del', `lh${id}o${index}`])
        spawnSync('ip', ['netns', 'del', `lh-${id}-${index}`])
      }
      spawnSync('ip', ['link', 'del', bridge])
    },
  }
}
