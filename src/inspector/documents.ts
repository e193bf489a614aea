import { existsSync, readFileSync } from 'node:fs'

/**
 * A document of the page, as it was built. In the package its text stands in the place of this module: a host that is
 * bundled has no files of ours beside it.
 */
export function readDocument(name: string): string {
  const places = ['./page/built/', '../../dist/src/inspector/page/built/']
  const place = places.map((path) => new URL(path + name, import.meta.url)).find((url) => existsSync(url))
  if (place === undefined) throw new Error(`${name} is not built; run npm run build.`)
  return readFileSync(place, 'utf8')
}
