import { z } from 'zod'
import { lookField, lookSchema, orderSchema } from './ask-schema.ts'
import { amounts, durationMs, jsonValue, wholeNumber } from './fields.ts'

const requestSchema = z.strictObject({
  ...orderSchema,
  timeoutMs: durationMs(1).prefault(30_000).describe('Longest time that it takes, in milliseconds.'),
})

const checkSchema = z
  .strictObject({
    ...lookSchema,
    field: lookField()
      .optional()
      .describe(
        'The field of its JSON answer that is compared, with dots for inner fields, and `*` for each item of a list, of which one is enough.',
      ),
    equals: jsonValue()
      .default(true)
      .describe('The value of that field while the server sleeps. Upper and lower case are the same.'),
    status: wholeNumber('', 100, 599)
      .optional()
      .describe(
        'Instead of `field`: the status of the answer while the server sleeps. Awake it must be a 2xx.',
      ),
  })
  .refine(({ field, status }) => (field === undefined) !== (status === undefined), {
    error: 'needs either field or status: what tells that the server sleeps',
  })

/** How a server gives its memory back without ending. */
export const sleepSchema = z
  .strictObject({
    afterMs: durationMs(0)
      .prefault(0)
      .describe(
        'Time without a lease after which the server is told to sleep, in milliseconds. `0`: only to make room for another service.',
      ),
    request: z
      .array(requestSchema)
      .default([])
      .describe(
        'The requests that tell it to sleep, in this order. Absent: it sleeps and wakes by itself, and only its room is booked.',
      ),
    wake: z.array(requestSchema).default([]).describe('The requests that wake it, in this order.'),
    check: checkSchema.describe(
      'What tells whether it sleeps. It must not wake the server, and only this is believed, not the answer to `request`.',
    ),
    needs: amounts()
      .optional()
      .describe(
        'Amount of each budget that it uses while it sleeps; of a budget that is not named, as much as awake. Absent: as much as awake, until its use was measured 2 s after it fell asleep.',
      ),
  })
  .superRefine(({ afterMs, request, wake }, context) => {
    const report = (path: string, message: string) =>
      context.addIssue({ code: 'custom', path: [path], message })
    if (request.length === 0 && wake.length > 0)
      report('wake', 'needs request: a server that is not told to sleep is not woken')
    if (request.length > 0 && wake.length === 0)
      report('request', 'needs wake: a server that was told to sleep must be told to wake')
    if (request.length === 0 && afterMs > 0)
      report('afterMs', 'needs request: nothing tells the server to sleep')
  })
