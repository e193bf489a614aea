import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { isExcused, listProofs, listRows, writeProofs } from './proofs.ts'

const file = fileURLToPath(new URL('../README.md', import.meta.url))
const proofs = listProofs()

// `npm run readme` writes what this test otherwise compares.
if (process.env.WRITE_README === '1') writeFileSync(file, writeProofs(readFileSync(file, 'utf8'), proofs))

const text = readFileSync(file, 'utf8')
const rows = listRows(text)
const range = (prefix: string, count: number) =>
  Array.from({ length: count }, (_, index) => `${prefix}${index + 1}`)

const peers = [
  ...[...'abcdef'].map((letter) => `O-${letter}`),
  ...range('O-', 7),
  ...range('A-', 9),
  ...range('S-', 11),
  ...range('L-', 5),
  ...['N-1', 'U-1'],
]

test('every fault, race, promise, fault elsewhere and weakness of a peer has one row', () => {
  expect(rows.map(({ id }) => id)).toEqual([
    ...range('', 121),
    ...range('R', 22),
    ...range('P', 22),
    ...range('E-', 26),
    ...range('C-', 20),
    ...range('T', 17),
    ...peers,
  ])
})

test('a title names only what has a row', () => {
  const known = new Set(rows.map(({ id }) => id))
  expect(proofs.filter(({ id }) => !known.has(id))).toEqual([])
})

test('the proofs in the tables are those of the titles (npm run readme writes them)', () => {
  expect(listRows(writeProofs(text, proofs))).toEqual(rows)
})

test('no row is open', () => {
  expect(rows.filter(({ proof }) => proof === 'open' || proof === '')).toEqual([])
})

test('a row that says why not here has no test here', () => {
  const proven = new Set(proofs.map(({ id }) => id))
  expect(rows.filter(({ id, proof }) => isExcused(proof) && proven.has(id))).toEqual([])
})
