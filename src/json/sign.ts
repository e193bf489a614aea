/**
 * Whether a field of a JSON text has a value. `field` has dots for inner fields, and `*` for every item of a list, of which
 * one is enough. An object has the value of another one when it has its fields; upper and lower case are the same.
 * `undefined`: there is no such field.
 *
 * The program of `process/requests-program.ts` is handed on as text and contains this function, so it uses nothing from
 * outside its own braces.
 */
export function findSign(text: string, field: string, equals: unknown): boolean | undefined {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const isLike = (value: unknown, wanted: unknown): boolean => {
    if (Array.isArray(wanted))
      return (
        Array.isArray(value) &&
        value.length === wanted.length &&
        wanted.every((item, index) => isLike(value[index], item))
      )
    // A daemon may list a model under the name that it was given first, and take others that differ in case.
    if (typeof wanted === 'string')
      return typeof value === 'string' && value.toLowerCase() === wanted.toLowerCase()
    if (!isObject(wanted)) return Object.is(value, wanted)
    return (
      isObject(value) &&
      Object.keys(wanted).every((name) => Object.hasOwn(value, name) && isLike(value[name], wanted[name]))
    )
  }
  const look = (value: unknown, names: readonly string[]): boolean | undefined => {
    const [name, ...inner] = names
    if (name === undefined) return isLike(value, equals)
    if (name === '*') {
      if (!Array.isArray(value)) return undefined
      const seen = value.map((item) => look(item, inner)).filter((one) => one !== undefined)
      // An empty list has no such item, and that is an answer.
      return value.length > 0 && seen.length === 0 ? undefined : seen.includes(true)
    }
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    return look((value as Record<string, unknown>)[name], inner)
  }
  try {
    return look(JSON.parse(text), field.split('.'))
  } catch {
    return undefined
  }
}
