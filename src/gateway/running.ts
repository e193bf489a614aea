import type { ServiceSnapshot } from '../service/snapshot.ts'
import type { Supervisor } from '../supervisor/interface.ts'

/** Stops every service that runs; `force` does not drain. Settles when nothing of them is left. */
export async function stopAll(
  supervisor: Supervisor,
  force: boolean,
): Promise<{ readonly services: readonly ServiceSnapshot[] }> {
  const running = supervisor.snapshot().services.filter(({ state }) => !state.startsWith('down'))
  const services = await Promise.all(running.map(({ key }) => supervisor.stop(key, { force })))
  return { services }
}

/** The models whose service is up or on its way, as llama-swap lists them. */
export function listRunning(supervisor: Supervisor): { readonly model: string; readonly state: string }[] {
  return supervisor
    .models()
    .filter(({ state }) => !/^(?:down|unavailable)/.test(state))
    .map(({ id, state }) => ({ model: id, state: STATES.find(([ours]) => ours.test(state))?.[1] ?? state }))
}

const STATES = [
  [/^(?:ready|leased)/, 'ready'],
  [/^(?:probing|starting)/, 'starting'],
  [/^idle-stopping/, 'stopping'],
] as const
