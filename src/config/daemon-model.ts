import type { LocalServiceConfig } from './config.ts'

/** Tells a model of a daemon from the others in it: what says that it is loaded, where upper and lower case are the same. */
export function toModelSign({ loaded }: NonNullable<LocalServiceConfig['daemon']>): string {
  const { method, path, body = null, field, equals } = loaded
  return JSON.stringify([method, path, body, field, equals]).toLowerCase()
}
