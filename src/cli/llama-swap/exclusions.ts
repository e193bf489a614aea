/** Pairs of names that never run together. */
export interface Exclusions {
  has(one: string, other: string): boolean
}

/** Groups of names of which one runs at a time, so that every excluded pair is in one, and no other pair. */
export function toGroups(names: readonly string[], { has }: Exclusions): readonly (readonly string[])[] {
  const covered = new Set<string>()
  const keyOf = (one: string, other: string) => JSON.stringify(one < other ? [one, other] : [other, one])
  const groups: string[][] = []
  for (const [index, one] of names.entries())
    for (const other of names.slice(index + 1)) {
      if (!has(one, other) || covered.has(keyOf(one, other))) continue
      const group = growGroup(names, [one, other], has, (a, b) => covered.has(keyOf(a, b)))
      for (const member of group) for (const twin of group) covered.add(keyOf(member, twin))
      groups.push(group)
    }
  return groups
}

/** Adds names that are excluded by every member, first the ones that cover the most new pairs. */
function growGroup(
  names: readonly string[],
  start: readonly string[],
  has: Exclusions['has'],
  isCovered: (one: string, other: string) => boolean,
): string[] {
  const group = [...start]
  let candidates = names.filter((name) => !group.includes(name) && group.every((member) => has(member, name)))
  while (candidates.length > 0) {
    const news = candidates.map((name) => group.filter((member) => !isCovered(member, name)).length)
    const best = candidates[news.indexOf(Math.max(...news))] ?? ''
    group.push(best)
    candidates = candidates.filter((name) => name !== best && has(best, name))
  }
  return names.filter((name) => group.includes(name))
}

/** A group of llama-swap's, with its defaults filled in. */
export interface SwapGroup {
  readonly members: readonly string[]
  /** Only one of its members runs at a time. */
  readonly swap: boolean
  /** When one of its members starts, the members of other groups stop. */
  readonly exclusive: boolean
  /** Its members do not stop for those of other groups. */
  readonly persistent: boolean
}

/**
 * The pairs that groups keep apart. Where only one of two groups is exclusive, llama-swap lets their members run
 * together in one order and not in the other: these pairs are no exclusions here.
 */
export function excludeByGroups(groups: readonly SwapGroup[]): Exclusions {
  const groupOf = (name: string) => groups.find(({ members }) => members.includes(name))
  return {
    has: (one, other) => {
      const [first, second] = [groupOf(one), groupOf(other)]
      if (first === undefined || second === undefined || one === other) return false
      if (first === second) return first.swap
      return stops(first, second) && stops(second, first)
    },
  }
}

/** Whether a start in one group stops the other. */
export function stops(starting: SwapGroup, other: SwapGroup): boolean {
  return starting.exclusive && !other.persistent
}

/** The pairs that no set of a matrix has. A name that is in no set runs alone. */
export function excludeBySets(sets: readonly ReadonlySet<string>[]): Exclusions {
  return { has: (one, other) => one !== other && !sets.some((set) => set.has(one) && set.has(other)) }
}

/** Names of which each pair is in a set, and that are in none together: pairs cannot say so. */
export function findLooseTriple(
  names: readonly string[],
  sets: readonly ReadonlySet<string>[],
): readonly string[] | undefined {
  const { has } = excludeBySets(sets)
  for (const [i, one] of names.entries())
    for (const [j, other] of names.entries())
      for (const [k, third] of names.entries()) {
        if (i >= j || j >= k || has(one, other) || has(other, third) || has(one, third)) continue
        if (!sets.some((set) => set.has(one) && set.has(other) && set.has(third))) return [one, other, third]
      }
  return undefined
}

/** More than these are not written out. */
const MAX_SETS = 10_000

/**
 * The sets of names that an expression of a matrix stands for: `a & b` runs together, `a | b` are alternatives,
 * `+name` is another set.
 * @throws {Error} with what is wrong.
 */
export function expandSet(
  text: string,
  find: (name: string) => string | undefined,
  findSet: (name: string) => string | undefined,
  depth = 0,
): readonly (readonly string[])[] {
  if (depth > 20) throw new Error('its sets name each other')
  const tokens = text.match(/[&|()]|[^\s&|()]+/g) ?? []
  let next = 0
  const readAny = (): string[][] => {
    const sets = readAll()
    while (tokens[next] === '|') {
      next += 1
      sets.push(...readAll())
    }
    return sets
  }
  const readAll = (): string[][] => {
    let sets = readOne()
    while (tokens[next] === '&') {
      next += 1
      const more = readOne()
      if (sets.length * more.length > MAX_SETS) throw new Error('it stands for too many sets')
      sets = sets.flatMap((set) => more.map((other) => [...set, ...other]))
    }
    return sets
  }
  const readOne = (): string[][] => {
    const token = tokens[next]
    next += 1
    if (token === '(') {
      const sets = readAny()
      if (tokens[next] !== ')') throw new Error('a parenthesis does not end')
      next += 1
      return sets
    }
    if (token === undefined || '&|)'.includes(token)) throw new Error('a name is missing')
    if (token.startsWith('+')) {
      const inner = findSet(token.slice(1))
      if (inner === undefined) throw new Error(`there is no set "${token.slice(1)}"`)
      return expandSet(inner, find, findSet, depth + 1).map((set) => [...set])
    }
    const name = find(token)
    if (name === undefined) throw new Error(`there is no model "${token}"`)
    return [[name]]
  }
  const sets = readAny()
  if (next < tokens.length) throw new Error(`"${tokens[next]}" is not expected there`)
  return sets
}
