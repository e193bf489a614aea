import { getMember, hasText, isObject, removeMember, setValue, toValue } from '../json/edit.ts'
import type { JsonNode } from '../json/node.ts'
import type { Rule } from './rule.ts'

/** Servers without JSON schema support are asked for plain JSON. */
export const jsonObjectFormat: Rule = {
  name: 'supportsJsonSchemaResponseFormat',
  apply: (body, { compat }) =>
    compat.supportsJsonSchemaResponseFormat === false &&
    hasText(getMember(body, 'response_format'), 'type', 'json_schema') &&
    setValue(body, 'response_format', { type: 'json_object' }),
}

/** Some reasoning models refuse any temperature. */
export const noTemperature: Rule = {
  name: 'supportsTemperature',
  apply: (body, { compat }) => compat.supportsTemperature === false && removeMember(body, 'temperature'),
}

/** Requests usage in streams, unless the client set the option. */
export const streamUsage: Rule = {
  name: 'supportsUsageInStreaming',
  apply: (body, { compat }) => {
    if (compat.supportsUsageInStreaming === false) return removeMember(body, 'stream_options')
    if (!isStream(body)) return false
    const options = getMember(body, 'stream_options')
    if (!isObject(options)) return setValue(body, 'stream_options', { include_usage: true })
    return getMember(options, 'include_usage') === undefined && setValue(options, 'include_usage', true)
  },
}

/** z.ai streams tool calls only when asked. */
export const toolStream: Rule = {
  name: 'zaiToolStream',
  apply: (body, { compat }) =>
    compat.zaiToolStream === true &&
    isStream(body) &&
    getMember(body, 'tools') !== undefined &&
    getMember(body, 'tool_stream') === undefined &&
    setValue(body, 'tool_stream', true),
}

/** The upstreams that OpenRouter may use. */
export const openRouterRouting: Rule = {
  name: 'openRouterRouting',
  apply: (body, { compat: { openRouterRouting: routing } }) =>
    routing !== undefined && getMember(body, 'provider') === undefined && setValue(body, 'provider', routing),
}

/** The upstreams that the Vercel gateway may use. */
export const vercelRouting: Rule = {
  name: 'vercelGatewayRouting',
  apply: (body, { compat: { vercelGatewayRouting: gateway } }) =>
    gateway !== undefined &&
    getMember(body, 'providerOptions') === undefined &&
    setValue(body, 'providerOptions', { gateway }),
}

function isStream(body: JsonNode): boolean {
  return toValue(getMember(body, 'stream')) === true
}
