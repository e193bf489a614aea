import { setValue } from '../json/edit.ts'
import {
  assistantAfterToolResult,
  developerRole,
  reasoningContent,
  thinkingAsText,
  toolResultName,
} from './chat-messages.ts'
import { stringContent } from './content.ts'
import { neverSend } from './never-send.ts'
import { dropParams, extraBody, params } from './params.ts'
import { cacheControl } from './prompt-cache.ts'
import { reasoning, reasoningElsewhere } from './reasoning.ts'
import {
  jsonObjectFormat,
  noTemperature,
  openRouterRouting,
  streamUsage,
  toolStream,
  vercelRouting,
} from './request-fields.ts'
import type { Rule } from './rule.ts'
import { strictKeys } from './strict-keys.ts'
import { laterSystemMessages } from './system-messages.ts'
import { tokenField } from './token-field.ts'
import { toolSchema } from './tool-schema.ts'
import { noStrictTools, noTools } from './tools.ts'

/** The upstream's spelling of the model, on every route. */
const model: Rule = {
  name: 'model',
  isForEveryRoute: true,
  apply: (body, options) => setValue(body, 'model', options.model),
}

/**
 * Every rule, in the order they are applied; each sees what the earlier ones made. The model and dropped fields come
 * first, then the messages, since tool names and inserted turns need the tool turns that strict keys and missing tools
 * turn into text; the configuration's own words come last and win.
 */
export const rules: readonly Rule[] = [
  model,
  dropParams,
  developerRole,
  laterSystemMessages,
  toolResultName,
  assistantAfterToolResult,
  thinkingAsText,
  reasoningContent,
  stringContent,
  strictKeys,
  noTools,
  noStrictTools,
  toolSchema,
  jsonObjectFormat,
  noTemperature,
  streamUsage,
  toolStream,
  openRouterRouting,
  vercelRouting,
  tokenField,
  reasoning,
  reasoningElsewhere,
  cacheControl,
  neverSend,
  dropParams,
  params,
  extraBody,
]
