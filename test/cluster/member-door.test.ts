import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { createMemberDoor } from '../../src/cluster/member-door.ts'
import { createMemberProof } from '../../src/transport/member-proof.ts'
import { createMemberTls } from '../../src/transport/member-tls.ts'

test('what a member says against a question is shown as it is meant', async () => {
  const gateway = createServer((_, response) => {
    response.statusCode = 421
    response.end(JSON.stringify({ error: { message: 'not for "attic"\n', code: 'LEASEHOLD_HOP_REFUSED' } }))
  })
  gateway.listen(0, '127.0.0.1')
  await once(gateway, 'listening')
  const proof = createMemberProof('s'.repeat(32), { member: 'tower', boot: 'a' })
  const door = createMemberDoor({
    clock: systemClock,
    proof,
    tls: createMemberTls('s'.repeat(32)),
    nextNumber: () => 1,
  })
  const address = `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`
  const answer = await door.askCard({ member: 'attic', boot: 'b' }, address, 2000)
  expect(answer).toEqual({ outcome: 'refused', detail: 'status 421: not for "attic"\n' })
  gateway.close()
})
