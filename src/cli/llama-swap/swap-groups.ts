import { isObject, type JsonObject } from '../../json/value.ts'
import {
  type Exclusions,
  excludeByGroups,
  excludeBySets,
  expandSet,
  findLooseTriple,
  type SwapGroup,
  stops,
  toGroups,
} from './exclusions.ts'
import { toCount, toObject } from './swap-values.ts'

/** Which models share room, by their ids in llama-swap's file. */
export interface Rooms {
  readonly groups: readonly { readonly name: string; readonly members: readonly string[] }[]
  readonly pinned: ReadonlySet<string>
  readonly evictCosts: ReadonlyMap<string, number>
}

type Note = (path: readonly string[], message: string) => void

/** Translates `groups` or `matrix`, at the top or below `routing.router`. Without them one model runs at a time. */
export function translateRooms(top: JsonObject, ids: readonly string[], note: Note): Rooms {
  const router = toObject(toObject(top.routing).router)
  const settings = toObject(router.settings)
  const at = (name: string) => (top[name] === undefined ? ['routing', 'router', 'settings', name] : [name])
  const matrix = top.matrix ?? (router.use === 'matrix' ? settings.matrix : undefined)
  if (isObject(matrix)) return translateMatrix(matrix, ids, at('matrix'), note)
  const groups = listGroups(top.groups ?? settings.groups, ids, at('groups'), note)
  for (const { name, group } of groups) {
    const rivals = groups.filter(
      (other) => other.group !== group && stops(group, other.group) && !stops(other.group, group),
    )
    if (rivals.length > 0 && name !== undefined)
      note(
        [...at('groups'), name],
        `its start does not stop ${rivals.map((rival) => rival.name ?? 'the models without a group').join(', ')}, whose starts do not stop it: where they do not fit together, set budgets and needs`,
      )
  }
  const exclusions = excludeByGroups(groups.map(({ group }) => group))
  const pinned = groups.filter(({ group }) => group.persistent && !group.swap)
  return {
    groups: nameGroups(ids, exclusions, groups),
    pinned: new Set(pinned.flatMap(({ group }) => group.members)),
    evictCosts: new Map(),
  }
}

interface NamedGroup {
  /** Absent: that of the models which no group names. */
  readonly name?: string
  readonly group: SwapGroup
}

function listGroups(
  given: unknown,
  ids: readonly string[],
  path: readonly string[],
  note: Note,
): NamedGroup[] {
  const groups = Object.entries(toObject(given)).map(([name, value]): NamedGroup => {
    const { members, swap, exclusive, persistent } = toObject(value)
    const listed = Array.isArray(members) ? members.map(String) : []
    for (const [index, member] of listed.entries())
      if (!ids.includes(member))
        note([...path, name, 'members', String(index)], `"${member}" is no model that is run here`)
    return {
      name,
      group: {
        members: listed.filter((member) => ids.includes(member)),
        swap: swap !== false,
        exclusive: exclusive !== false,
        persistent: persistent === true,
      },
    }
  })
  if (given !== undefined && given !== null && !isObject(given))
    note(path, 'is no map of groups, so it is left out')
  const rest = ids.filter((id) => !groups.some(({ group }) => group.members.includes(id)))
  return rest.length === 0
    ? groups
    : [...groups, { group: { members: rest, swap: true, exclusive: true, persistent: false } }]
}

function translateMatrix(
  matrix: JsonObject,
  ids: readonly string[],
  path: readonly string[],
  note: Note,
): Rooms {
  const variables = toObject(matrix.vars)
  const written = toObject(matrix.sets)
  const find = (name: string) => {
    const id = String(Object.hasOwn(variables, name) ? variables[name] : name)
    return ids.includes(id) ? id : undefined
  }
  const findSet = (name: string) => (Object.hasOwn(written, name) ? String(written[name]) : undefined)
  const sets = Object.entries(written).flatMap(([name, text]) => {
    try {
      return expandSet(String(text), find, findSet).map((set) => new Set(set))
    } catch (error) {
      note([...path, 'sets', name], `${error instanceof Error ? error.message : error}, so it is left out`)
      return []
    }
  })
  const triple = findLooseTriple(ids, sets)
  if (triple !== undefined)
    note(
      [...path, 'sets'],
      `${triple.join(', ')} may all run together in leasehold, because each two of them may: where they do not fit, set budgets and needs`,
    )
  const costs = Object.entries(toObject(matrix.evict_costs)).flatMap(([name, cost]) => {
    const id = find(name)
    if (id === undefined) note([...path, 'evict_costs', name], `"${name}" is no model that is run here`)
    const amount = toCount(cost, 0, MAX_COST)
    return id === undefined || amount === undefined ? [] : [[id, amount] as const]
  })
  return {
    groups: nameGroups(ids, excludeBySets(sets), []),
    pinned: new Set(),
    evictCosts: new Map(costs),
  }
}

const MAX_COST = 1_000_000_000

function nameGroups(
  ids: readonly string[],
  exclusions: Exclusions,
  named: readonly NamedGroup[],
): Rooms['groups'] {
  const taken = new Set<string>()
  return toGroups(ids, exclusions).map((members) => {
    const same = named.find(({ group }) => members.every((member) => group.members.includes(member)))
    const wanted = (same?.name ?? '').replaceAll(/[^\w.-]+/g, '-')
    const name = /^[A-Za-z]/.test(wanted) ? wanted : 'one-at-a-time'
    let free = name
    for (let count = 2; taken.has(free); count += 1) free = `${name}-${count}`
    taken.add(free)
    return { name: free, members }
  })
}
