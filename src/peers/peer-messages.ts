import type { Failure, FailureCode } from '../../machines/messages.ts'
import { errorRows } from '../compat/openai-error.ts'

/**
 * A failure as another supervisor tells it. It may be of another version, so a code that is unknown here, or a shape
 * that is, becomes an internal failure with what was said.
 */
export function toFailure(value: unknown): Failure {
  const { code, message } = (typeof value === 'object' && value !== null ? value : {}) as Partial<Failure>
  if (typeof message !== 'string' || typeof code !== 'string' || !Object.hasOwn(errorRows, code))
    return { code: 'LEASEHOLD_INTERNAL', message: `its owner said: ${JSON.stringify(value) ?? 'nothing'}` }
  return { ...(value as Failure), code: code as FailureCode }
}
