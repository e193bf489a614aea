import type { ModelAlias, ModelParams } from './config.ts'
import { type Finding, toError, toWarning } from './finding.ts'
import { type Catalogue, findModel, isSameName, type Suggestions, splitRef } from './model-ref.ts'
import { findNearest, isNearMiss } from './nearest.ts'
import type { ConfigValues } from './schema.ts'

type Listings = Catalogue<{
  readonly id: string
  readonly models: readonly { readonly id: string }[]
}>['providers']

/** A model whose own entry gives it other names; `path` is where they are written. */
export interface NamedModel {
  readonly ref: string
  readonly alias: string | readonly string[]
  readonly path: readonly PropertyKey[]
}

/** The references of `agents.defaults`, resolved to full ones, and what is wrong with them. */
export interface References {
  readonly aliases: readonly ModelAlias[]
  readonly modelParams: Readonly<Record<string, ModelParams>>
  readonly defaultModel?: { readonly primary: string; readonly fallbacks: readonly string[] }
  readonly findings: readonly Finding[]
}

/**
 * Resolves every reference of `agents.defaults`, and adds the names that models give themselves. An unknown provider or a malformed reference is an error. A model
 * that a known provider does not list is a warning: the rest still works, and a request for it gets its own answer.
 * `isLenient` leaves out what cannot be resolved, with a warning.
 */
export function resolveReferences(
  { model, models }: ConfigValues['agents']['defaults'],
  providers: Listings,
  named: readonly NamedModel[],
  { isLenient = false }: { readonly isLenient?: boolean } = {},
): References {
  const findings: Finding[] = []
  const aliases: ModelAlias[] = []
  const modelParams: Record<string, ModelParams> = Object.create(null)

  const resolve = (
    ref: string,
    known: readonly ModelAlias[],
    path: readonly PropertyKey[],
  ): string | undefined => {
    const match = findModel({ providers, aliases: known }, ref)
    if (match.kind === 'found') return `${match.provider.id}/${match.modelId}`
    const finding =
      match.kind === 'ambiguous'
        ? toError(path, `"${ref}" is ambiguous: it could be ${match.candidates.join(' or ')}`)
        : toUnknownFinding(ref, providers, match, path)
    const isLeftOut = isLenient && finding.severity === 'error'
    findings.push(isLeftOut ? toWarning(path, `${finding.message}; it is left out`) : finding)
    return isLeftOut ? undefined : ref
  }

  const addAliases = (ref: string, alias: string | readonly string[], path: readonly PropertyKey[]) => {
    for (const [index, name] of [alias].flat().entries()) {
      const at = Array.isArray(alias) ? [...path, index] : path
      const twin = aliases.find((other) => isSameName(other.alias, name))
      if (twin === undefined) aliases.push({ alias: name, ref })
      else if (twin.ref === ref) findings.push(toWarning(at, `the alias "${name}" is listed twice`))
      else
        findings.push(
          (isLenient ? toWarning : toError)(at, `the alias "${name}" is already taken by ${twin.ref}`),
        )
    }
  }

  for (const { ref, alias, path } of named) addAliases(ref, alias, path)
  for (const [written, { alias, params }] of Object.entries(models)) {
    const path = ['agents', 'defaults', 'models', written]
    const ref = resolve(written, [], path)
    if (ref === undefined) continue
    if (Object.hasOwn(modelParams, ref))
      findings.push(toWarning(path, `is another spelling of ${ref}; the last one counts`))
    modelParams[ref] = params
    addAliases(ref, alias ?? [], [...path, 'alias'])
  }

  if (model === undefined) return { aliases, modelParams, findings }
  const at = ['agents', 'defaults', 'model']
  const refs =
    typeof model === 'string'
      ? [resolve(model, aliases, at)]
      : [
          resolve(model.primary, aliases, [...at, 'primary']),
          ...model.fallbacks.map((ref, index) => resolve(ref, aliases, [...at, 'fallbacks', index])),
        ]
  const [primary, ...fallbacks] = refs.filter((ref) => ref !== undefined)
  if (primary === undefined) return { aliases, modelParams, findings }
  return { aliases, modelParams, defaultModel: { primary, fallbacks }, findings }
}

function toUnknownFinding(
  ref: string,
  providers: Listings,
  { candidates, isNear: hasNear }: Suggestions,
  path: readonly PropertyKey[],
): Finding {
  const parts = splitRef(ref)
  const names = candidates.join(' or ')
  const guess = hasNear ? `; did you mean ${names}?` : `; there is, for instance, ${names}`
  const hint = candidates.length === 0 ? '' : guess
  if (parts === undefined)
    return toError(path, `"${ref}" is not a model reference: expected "provider/model"${hint}`)
  if (providers.some(({ id }) => isSameName(id, parts.providerId))) {
    return toWarning(path, `the provider "${parts.providerId}" has no model "${parts.modelId}"${hint}`)
  }
  const nearest = findNearest(
    parts.providerId,
    providers.map(({ id }) => id),
  )
  const isNear = nearest !== undefined && isNearMiss(parts.providerId, nearest.edits)
  const providerHint = isNear ? `; the nearest provider is "${nearest.candidate}"` : ''
  return toError(path, `unknown provider "${parts.providerId}" in "${ref}"${providerHint}`)
}
