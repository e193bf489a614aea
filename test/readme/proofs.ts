import { readdirSync, readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('..', import.meta.url))

/**
 * What a title proves: `12` for a fault, `R5` for a race, `P3` for a promise, `E-1` for a server elsewhere, `C-1` for a
 * fault of a cluster (its titles say `row 1`), `T1` for a promise of a cluster, `O-a` for what
 * the users of a peer report; and where it stands, without its ending.
 */
export interface Proof {
  readonly id: string
  readonly file: string
}

/** One row of the tables: what must hold, and where that is proven, or why not here. */
export interface ProofRow {
  readonly id: string
  readonly proof: string
}

/** Reads every title of every test and script. */
export function listProofs(): readonly Proof[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.test\.ts$|^scripts\/.*\.json5$/.test(file))
    .toSorted()
    .flatMap((file) => {
      const name = relative('.', file).replace(/(\.test\.ts|\.json5)$/, '')
      const ids = idsOf(readFileSync(folder + file, 'utf8'))
      return [...new Set(ids)].map((id) => ({ id, file: name }))
    })
}

function idsOf(text: string): string[] {
  const code = text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, '')
  const titles = [...code.matchAll(/\(((?:faults?|races?|promises?|peers?) [\w ,-]+)\)['"`]/g)].map(
    ([, ids = '']) => ids,
  )
  const cluster = [...code.matchAll(/\(((?:(?:rows? )?\d+|T\d+)(?:, (?:(?:rows? )?\d+|T\d+))*)\)['"`]/g)]
    .filter(([, ids = '']) => /^(?:row|T)/.test(ids))
    .flatMap(([, ids = '']) => ids.match(/T?\d+/g) ?? [])
    .map((id) => (id.startsWith('T') ? id : `C-${id}`))
  const covers = [...code.matchAll(/^\s*covers: \[([^\]]*)\]/gm)].map(([, ids = '']) => ids)
  return [
    ...[...titles, ...covers].flatMap((ids) => ids.match(/\b[A-Z]-\w+\b|\b[RP]?\d+\b/g) ?? []),
    ...cluster,
  ]
}

const rowPattern = /^(\| ([RPT]?\d+|[A-Z]-\w+) \| [^|]+ \| )([^|]*)( \|)$/gm

/** The rows of the tables in a text. */
export function listRows(text: string): readonly ProofRow[] {
  return [...text.matchAll(rowPattern)].map(([, , id = '', proof = '']) => ({ id, proof }))
}

/** The same text with every proof written anew; a row that says why not stays as it is. */
export function writeProofs(text: string, proofs: readonly Proof[]): string {
  return text.replace(rowPattern, (row, before: string, id: string, proof: string, after: string) => {
    const files = proofs.filter((one) => one.id === id).map(({ file }) => file)
    if (files.length > 0) return before + files.map((file) => `\`${file}\``).join(', ') + after
    return isExcused(proof) ? row : `${before}open${after}`
  })
}

/** Whether a row says why nothing here proves it. */
export function isExcused(proof: string): boolean {
  return proof.startsWith('not here: ')
}
