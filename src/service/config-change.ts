import { isDeepStrictEqual } from 'node:util'
import type { Config, ProviderConfig } from '../config/config.ts'
import type { ConfigChange } from '../events/events.ts'
import { toServiceKey } from './services.ts'

/** Where a gateway listens, and which cluster it is a member of, is settled when it begins to. */
const SETTLED_SETTINGS = ['leasehold.host', 'leasehold.port', 'leasehold.cluster']

/** Compares two configurations. Providers are the same when their ids differ in nothing but case. */
export function toConfigChange(before: Config, after: Config): ConfigChange {
  const old = byId(before)
  const next = byId(after)
  const inBoth = [...next].flatMap(([id, provider]) => {
    const predecessor = old.get(id)
    return predecessor === undefined ? [] : [{ id: provider.id, provider, predecessor }]
  })
  const changed = inBoth.filter(({ provider, predecessor }) => !isDeepStrictEqual(provider, predecessor))
  const settings = listSettings(before, after)
  return {
    added: [...next].flatMap(([id, provider]) => (old.has(id) ? [] : [provider.id])),
    removed: [...old].flatMap(([id, provider]) => (next.has(id) ? [] : [provider.id])),
    changed: changed.map(({ id }) => id),
    restarted: changed
      .filter(({ provider, predecessor }) => toServiceKey(provider) !== toServiceKey(predecessor))
      .map(({ id }) => id),
    unchanged: inBoth.flatMap((pair) => (changed.includes(pair) ? [] : [pair.id])),
    settings,
    ignored: settings.filter((path) => SETTLED_SETTINGS.includes(path)),
  }
}

function byId({ providers }: Config): Map<string, ProviderConfig> {
  return new Map(providers.map((provider) => [provider.id.toLowerCase(), provider]))
}

function listSettings(before: Config, after: Config): string[] {
  const isModelChange = !isDeepStrictEqual(before.defaultModel, after.defaultModel)
  const isEntryChange = !isDeepStrictEqual(
    [before.aliases, before.modelParams],
    [after.aliases, after.modelParams],
  )
  const names = [
    ...new Set([...Object.keys(before.leasehold), ...Object.keys(after.leasehold)]),
  ] as (keyof Config['leasehold'])[]
  return [
    ...(isModelChange ? ['agents.defaults.model'] : []),
    ...(isEntryChange ? ['agents.defaults.models'] : []),
    ...names
      .filter((name) => !isDeepStrictEqual(before.leasehold[name], after.leasehold[name]))
      .map((name) => `leasehold.${name}`),
  ]
}
