import { createRequire } from 'node:module'

const { version }: { version: string } = createRequire(import.meta.url)('../../../package.json')

/** The version of leasehold, as other members see it. */
export const ownVersion = version
