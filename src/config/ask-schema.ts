import { z } from 'zod'
import { headerName, jsonValue } from './fields.ts'

/** The options of a request to the server itself, at the origin of `baseUrl`. */
export const askSchema = {
  method: z.enum(['GET', 'POST', 'PUT', 'DELETE']),
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
