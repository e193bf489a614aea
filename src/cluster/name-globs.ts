/** Whether a provider id fits one of some patterns, without regard to case; `*` stands for any characters. */
export function createGlobs(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map(
    (pattern) =>
      new RegExp(
        `^${pattern
          .split('*')
          .map((part) => part.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&'))
          .join('.*')}$`,
        'i',
      ),
  )
  return (name) => expressions.some((expression) => expression.test(name))
}

/** Whether the others may use a provider, by its id and by where its server is. */
export type Sharing = (providerId: string, isOfThisHost: boolean) => boolean

/**
 * Which providers a member shares. `*` alone means the servers on this host: a provider elsewhere is used with a key of
 * this member, so it is shared only where a pattern names it.
 */
export function createSharing(patterns: readonly string[]): Sharing {
  const isShared = createGlobs(patterns)
  const isNamed = createGlobs(patterns.filter((pattern) => pattern !== '*'))
  return (name, isOfThisHost) => (isOfThisHost ? isShared : isNamed)(name)
}
