/** Variables by name, as `process.env` holds them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** A text after substitution. */
export interface Substitution {
  readonly text: string
  /** Whether any part of it came from the environment. */
  readonly isSubstituted: boolean
  /** Names that are not set, or set to nothing. Their `${VAR}` stays as it is in `text`. */
  readonly missing: readonly string[]
}

/**
 * Replaces each `${VAR}` by the variable's value; `$${VAR}` stands for a literal `${VAR}`. What is put in is not
 * looked at again. An empty variable counts as missing: an empty key is a mistake that shows only later, as a 401.
 */
export function substituteVariables(text: string, env: Environment): Substitution {
  const missing: string[] = []
  let isSubstituted = false
  const result = text.replace(/\$(\$\{[A-Za-z_]\w*\})|\$\{([A-Za-z_]\w*)\}/g, (whole, escaped, name) => {
    if (typeof escaped === 'string') return escaped
    // A plain object used as an environment inherits `constructor` and its like, which are no strings.
    const value: unknown = env[name]
    if (typeof value === 'string' && value !== '') {
      isSubstituted = true
      return value
    }
    missing.push(name)
    return whole
  })
  return { text: result, isSubstituted, missing }
}
