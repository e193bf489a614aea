// What must be true of three machines when the harm is over, and when they have ended.
import { describe, listMarked, lookUntil, signalMarked } from './processes.mjs'

/** How long all may take to come right when the harm is over, in milliseconds. */
export const RECOVERY_LIMIT_MS = 30_000
/** How long the last process of a machine may take to end, in milliseconds. */
const GONE_LIMIT_MS = 10_000

/** Waits until every machine sees every other one, under load as before. */
export async function untilWell({ all, blame, limitMs = RECOVERY_LIMIT_MS }) {
  let seen = []
  const isWell = async () => {
    seen = await Promise.all(
      all.map(async (box) => {
        const { members = [] } = await box.json('/api/members').catch(() => ({}))
        return `${box.name} sees ${members.map(({ member, state, problem }) => `${member} ${state}${problem ? ` (${problem})` : ''}`).join(', ')}`
      }),
    )
    return seen.every((line) => line.match(/ open/g)?.length === all.length)
  }
  if (!(await lookUntil(isWell, limitMs, 100)))
    blame(`the machines did not come together: ${seen.join('; ')}`)
}

/** When the clients are done no lease is held and no request waits. */
export async function untilQuiet({ all, blame, limitMs = RECOVERY_LIMIT_MS }) {
  let busy = []
  const isQuiet = async () => {
    const snapshots = await Promise.all(all.map((box) => box.json('/api/services')))
    busy = snapshots.flatMap(({ services }, index) =>
      services
        .filter(({ leases, queue }) => leases !== 0 || queue.length > 0)
        .map(
          ({ service, state, leases, queue }) =>
            `${service} of ${all[index].name} (${state}): ${leases} leases, ${queue.length} waiting`,
        ),
    )
    return busy.length === 0
  }
  if (!(await lookUntil(isQuiet, limitMs, 100))) blame(`the clients are done, and yet: ${busy.join('; ')}`)
}

/** No process of a machine is left. What is left is ended. */
export async function untilGone({ name, folder }, { blame, limitMs = GONE_LIMIT_MS }) {
  const mark = `HOME=${folder}`
  if (await lookUntil(() => listMarked(mark).length === 0, limitMs, 50)) return
  for (const pid of listMarked(mark)) {
    blame(`a process of ${name} is left: ${describe(pid)}`)
    signalMarked(pid, 'SIGKILL', mark)
  }
}

/** No namespace and no cable of a network is left. */
export function expectNoNetwork(network, { blame }) {
  for (const one of network.listLeft()) blame(`a part of the network is left: ${one}`)
}
