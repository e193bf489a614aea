import type { Config, ProviderConfig } from '../config/config.ts'
import { listAnswerSecrets } from '../config/secret-values.ts'
import type { Environment } from '../config/secrets.ts'
import { listTextSpellings } from '../text/scrubber.ts'

const STAR = 0x2a
const EMPTY = Buffer.alloc(0)

/** The secrets that one server was given, prepared for finding them in its answers. */
export interface AnswerSecrets {
  /** A header value without secrets; of the same length. */
  header(value: string): string
  /** Masks the body of one answer. */
  openBody(): BodyMask
}

/** Overwrites secrets in a body, so that its length stays. */
export interface BodyMask {
  /** Gives the bytes that may be sent: an end that may begin a secret is held back. */
  push(chunk: Buffer): Buffer
  /** The rest. */
  end(): Buffer
}

/** Finds the secrets that a provider's answers must not show; prepared once for each provider of a configuration. */
export function rememberAnswerSecrets(
  config: () => Config,
  env: Environment,
): (provider: ProviderConfig) => AnswerSecrets | undefined {
  const known = new WeakMap<ProviderConfig, AnswerSecrets | null>()
  return (provider) => {
    let secrets = known.get(provider)
    if (secrets === undefined) {
      secrets = toAnswerSecrets(listAnswerSecrets(config(), provider, env)) ?? null
      known.set(provider, secrets)
    }
    return secrets ?? undefined
  }
}

/**
 * Prepares secrets for finding them. `undefined`: there is none, and answers need not be looked at.
 * One that a model spells token by token is not found, nor one in a body that is compressed although the server was
 * asked not to.
 */
export function toAnswerSecrets(secrets: readonly string[]): AnswerSecrets | undefined {
  if (secrets.length === 0) return undefined
  // The longest first: a secret may contain another one.
  const texts = [...new Set(secrets.flatMap(listTextSpellings))].sort((a, b) => b.length - a.length)
  const needles = texts.map((text) => Buffer.from(text))
  const inner = new Set(needles.flatMap((needle) => [...needle.subarray(0, -1)]))
  const isInner = Uint8Array.from({ length: 256 }, (_, byte) => (inner.has(byte) ? 1 : 0))
  return {
    header: (value) =>
      texts.reduce(
        (clean, text) => (clean.includes(text) ? clean.replaceAll(text, '*'.repeat(text.length)) : clean),
        value,
      ),
    openBody: () => {
      let held: Buffer = EMPTY
      return {
        push: (chunk) => {
          const bytes = mask(held.length === 0 ? chunk : Buffer.concat([held, chunk]), needles)
          // Events end in a line end, which stands in no key: for them this is one look at one byte.
          const border = isInner[bytes.at(-1) ?? 0] === 1 ? findBeginning(bytes, needles) : bytes.length
          held = border === bytes.length ? EMPTY : bytes.subarray(border)
          return border === bytes.length ? bytes : bytes.subarray(0, border)
        },
        end: () => {
          const rest = held
          held = EMPTY
          return rest
        },
      }
    },
  }
}

/** The same bytes where there is no secret; a copy where there is one, because others may still read the chunk. */
function mask(bytes: Buffer, needles: readonly Buffer[]): Buffer {
  let masked = bytes
  for (const needle of needles)
    for (let at = masked.indexOf(needle); at !== -1; at = masked.indexOf(needle, at + needle.length)) {
      if (masked === bytes) masked = Buffer.from(bytes)
      masked.fill(STAR, at, at + needle.length)
    }
  return masked
}

/** Where an end begins that may be the beginning of a secret. */
function findBeginning(bytes: Buffer, needles: readonly Buffer[]): number {
  let border = bytes.length
  for (const needle of needles) {
    const first = needle.subarray(0, 1)
    const from = Math.max(0, bytes.length - needle.length + 1)
    for (let at = bytes.indexOf(first, from); at !== -1 && at < border; at = bytes.indexOf(first, at + 1))
      if (needle.compare(bytes, at, bytes.length, 0, bytes.length - at) === 0) border = at
  }
  return border
}
