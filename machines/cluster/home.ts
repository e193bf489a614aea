/**
 * The same order of members for a service wherever it is computed, without a word between them. Lower comes first. Each
 * service has another order, so that the first member does not start everything.
 */
export function hashMember(service: string, member: string): number {
  // FNV-1a, then a mix: names that differ in the last letter only must not stay neighbours.
  let hash = 0x811c9dc5
  for (const unit of `${service}\n${member}`) hash = Math.imul(hash ^ (unit.codePointAt(0) ?? 0), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** The first of some members in the order of a service: the one that starts it while no claim can be had. */
export function chooseHome(service: string, members: readonly string[]): string | undefined {
  return [...members].sort((a, b) => compareMembers(service, a, b))[0]
}

export function compareMembers(service: string, a: string, b: string): number {
  return hashMember(service, a) - hashMember(service, b) || (a < b ? -1 : a > b ? 1 : 0)
}
