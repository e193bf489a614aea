import { z } from 'zod'
import { headerName, jsonValue } from './fields.ts'

const method = z.enum(['GET', 'POST', 'PUT', 'DELETE'])

/** What each request to the server itself has, at the origin of `baseUrl`. */
const ask = {
  path: z
    .string()
    .regex(/^\/(?![/\\])[^\s#]*$/, 'must be a path that begins with one "/", with its query')
    .describe('Path at the origin of `baseUrl`, with its query: `/sleep?level=1`.'),
  body: jsonValue().optional().describe('JSON body. Absent: none.'),
  headers: z
    .record(headerName(), z.string())
    .default({})
    .describe(`Headers beside the key and the \`headers\` of the provider. \`\${VAR}\` is substituted.`),
}

/** The options of a request that orders something. */
export const orderSchema = { method: method.default('POST').describe('Its method.'), ...ask }

/** The options of a request that looks. */
export const lookSchema = { method: method.default('GET').describe('Its method.'), ...ask }

/** The field that a look compares. */
export const lookField = () => z.string().min(1, 'must not be empty')
