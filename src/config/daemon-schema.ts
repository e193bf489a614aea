import { z } from 'zod'
import { lookField, lookSchema, orderSchema } from './ask-schema.ts'
import { jsonValue } from './fields.ts'

const requestsSchema = () =>
  z
    .array(
      z.strictObject({
        ...orderSchema,
      }),
    )
    .min(1, 'needs at least one request')

/** A model of a server that runs already and loads several. */
export const daemonSchema = z.strictObject({
  load: requestsSchema().describe(
    'The requests that load the model, in this order. The last answer has to come within `readyTimeoutMs`.',
  ),
  unload: requestsSchema().describe(
    'The requests that unload it, in this order. They have `stopGraceMs` and 5 s, and are sent again until it is unloaded.',
  ),
  endsWithClient: z
    .boolean()
    .optional()
    .describe(
      '`true`: the daemon gives up a load whose client goes away, so a stop ends that client at once. Absent: a stop waits `stopGraceMs` for the answer, then keeps the room until the model was unloaded or `readyTimeoutMs` has passed.',
    ),
  loaded: z
    .strictObject({
      ...lookSchema,
      field: lookField().describe(
        'The field of its JSON answer that is compared, with dots for inner fields, and `*` for each item of a list, of which one is enough: `models.*.name`.',
      ),
      equals: jsonValue().describe(
        'The value of that field while the model is loaded. An object has that value when it has these fields. Upper and lower case are the same.',
      ),
      failed: jsonValue()
        .optional()
        .describe(
          'The value of that field when the last load has failed, where the answer to a load comes before the model is loaded. Absent: a load that has failed is waited for until `readyTimeoutMs`.',
        ),
      atOnce: z
        .boolean()
        .optional()
        .describe(
          '`true`: a load is answered when the model is loaded, so the start has failed if the model is not loaded then. Absent: it is waited for until `readyTimeoutMs`.',
        ),
    })
    .describe(
      'What tells whether the model is loaded. It must not load it, and only this is believed, not the answers to the other requests.',
    ),
})
