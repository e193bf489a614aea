/**
 * How often a random test runs: a few times in `npm test`, many times in `npm run proofs`.
 * `RUNS=5000 npm run proofs` sets another number.
 */
export function listRandomRuns(few: number, many: number): readonly { numRuns: number; tags: string[] }[] {
  return [
    { numRuns: few, tags: [] },
    { numRuns: Number(process.env.RUNS ?? many), tags: ['proof'] },
  ]
}
