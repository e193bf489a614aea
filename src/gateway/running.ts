import { hasTag } from '../../machines/provider/tags.ts'
import type { ServiceSnapshot } from '../service/snapshot.ts'
import type { Supervisor } from '../supervisor/interface.ts'

/** Stops every service that runs; `force` does not drain. Settles when nothing of them is left. */
export async function stopAll(
  supervisor: Supervisor,
  force: boolean,
): Promise<{ readonly services: readonly ServiceSnapshot[] }> {
  const running = supervisor.snapshot().services.filter(({ state }) => !hasTag(state, 'settled'))
  const services = await Promise.all(running.map(({ key }) => supervisor.stop(key, { force })))
  return { services }
}

/** The models whose service is up or on its way, as llama-swap lists them. */
export function listRunning(supervisor: Supervisor): { readonly model: string; readonly state: string }[] {
  return supervisor.models().flatMap(({ id, state }) => {
    const word = WORDS.find(([tag]) => hasTag(state, tag))?.[1]
    return word === undefined ? [] : [{ model: id, state: word }]
  })
}

const WORDS = [
  ['up', 'ready'],
  ['asleep', 'sleeping'],
  ['falling-asleep', 'sleeping'],
  ['waking', 'starting'],
  ['probing', 'starting'],
  ['starting', 'starting'],
  ['stopping', 'stopping'],
] as const
