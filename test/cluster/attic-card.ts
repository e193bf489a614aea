import type { Card } from '../../machines/cluster/messages.ts'

/** A card of the member "attic", which has no models. */
export function card(seq: number, boot = 'a1', state: Card['state'] = 'open'): Card {
  return {
    v: 1,
    member: 'attic',
    boot,
    seq,
    address: 'http://10.0.0.2:4141',
    version: '2.1.0',
    state,
    services: {},
    counted: {},
  }
}
