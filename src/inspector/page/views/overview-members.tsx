import { useEffect, useState } from 'preact/hooks'
import type { CardService } from '../../../../machines/cluster/messages.ts'
import type { MemberListing } from '../../../cluster/joined-cluster.ts'
import { formatSpan } from '../display-text.ts'
import type { ViewProps } from '../frame/view-frame.tsx'
import { type Look, lookWords } from '../look.ts'
import { Glyph, Icon } from '../shapes.tsx'
import { ask } from '../stream.ts'

/** The answer of `GET /api/members`. */
interface Cluster {
  readonly self: string | null
  readonly members: readonly MemberListing[]
}

/** Time between two looks at the members, in milliseconds: no event tells of their services. */
const LOOK_MS = 2_000

let latest: Cluster = { self: null, members: [] }
const readers = new Set<(cluster: Cluster) => void>()

function useCluster(): Cluster {
  const [cluster, read] = useState(latest)
  useEffect(() => {
    readers.add(read)
    return () => void readers.delete(read)
  }, [])
  return cluster
}

/** Looks at the members until `signal` is aborted. A gateway that is in no cluster is asked once. */
async function watchCluster(signal: AbortSignal): Promise<void> {
  do {
    if (!document.hidden) {
      try {
        latest = await (await ask('/api/members', { signal })).json()
        for (const read of readers) read(latest)
      } catch {
        // The page says by itself that the gateway is not there.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  } while (!signal.aborted && latest.self !== null)
}

/** The name of this machine over its services, where there are others. */
export function ThisMachine({ app }: ViewProps) {
  const { self, members } = useCluster()
  if (self === null || app.state.recording !== null) return null
  const own = members.find(({ isSelf }) => isSelf)
  return (
    <h2 class="machine">
      {self}{' '}
      <small>
        {joinWords('this machine', own === undefined ? 'not in its cluster' : stateWords[own.state])}
      </small>
    </h2>
  )
}

/** The services of the other machines of the cluster. They are started and stopped there. */
export function OtherMachines({ app, isStill }: ViewProps) {
  const { connection, recording, status, filter } = app.state
  const { members } = useCluster()
  const instance = status?.instance
  useEffect(() => {
    if (connection !== 'open') return
    const leaving = new AbortController()
    void watchCluster(leaving.signal)
    return () => leaving.abort()
  }, [connection, instance])
  if (recording !== null) return null
  return (
    <>
      {members
        .filter(({ isSelf }) => !isSelf)
        .map((one) => (
          <Machine key={one.member} {...one} filter={filter.trim().toLowerCase()} isStill={isStill} />
        ))}
    </>
  )
}

const stateWords: Partial<Record<MemberListing['state'], string>> = {
  connecting: 'looks for its cluster',
  refused: 'not in its cluster',
  draining: 'takes no new requests',
  muted: 'reached over HTTP only',
  settling: 'back again',
  lost: 'lost',
  newer: 'of a newer version, not used',
  unmet: 'not answered yet',
}

function joinWords(...words: readonly (string | false | undefined)[]): string {
  return words.filter(Boolean).join(', ')
}

interface MachineProps extends MemberListing {
  readonly filter: string
  readonly isStill: boolean
}

function Machine({ filter, isStill, ...one }: MachineProps) {
  const { member, address, state, heardMs, problem } = one
  const isAway = state !== 'open'
  const rows = Object.entries(one.services).filter(([id, { models }]) =>
    [member, id, ...models.map((model) => model.id)].some((text) => text.toLowerCase().includes(filter)),
  )
  if (rows.length === 0 && filter !== '') return null
  const seen = isAway && heardMs !== null && `last seen ${formatSpan(heardMs)} ago`
  return (
    <section
      class={`card peer ${isAway ? 'away' : ''}`}
      aria-label={`Services of ${member}`}
      data-member={member}
      data-state={state}
    >
      <header>
        <h2>{member}</h2>
        <small>{joinWords(stateWords[state], seen, isStill && 'as it is now')}</small>
        {address !== null && (
          <span class="tools">
            <a class="btn bare" href={address} aria-label={`Open the page of ${member}`}>
              Open <Icon name="link" size={14} />
            </a>
          </span>
        )}
      </header>
      {problem !== null && <p class="padded">{problem}</p>}
      {rows.length === 0 ? (
        <p class="padded soft">It offers no service.</p>
      ) : (
        <table>
          <thead class="vh">
            <tr>
              <th scope="col">Service</th>
              <th scope="col">Now</th>
              <th scope="col">Requests</th>
              <th scope="col">Models</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(([id, service]) => (
              <Row key={id} id={id} {...service} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}

/** States of a card, not of a chart. */
const looks: Readonly<Record<CardService['state'] | 'asleep', Look>> = {
  ready: 'idle',
  starting: 'loading',
  asking: 'waiting',
  failed: 'backoff',
  cold: 'down',
  asleep: 'asleep',
}

function Row({ id, state, isAsleep, leases, waiting, models }: CardService & { readonly id: string }) {
  const now = looks[isAsleep ? 'asleep' : state]
  const look = now === 'idle' && leases > 0 ? 'use' : now
  const names = models.map((model) => model.id).join(', ')
  return (
    <tr data-look={look}>
      <th scope="row" class="cut" title={id}>
        {id}
      </th>
      <td>
        <Glyph look={look} /> {look === 'waiting' ? 'Asks to start' : lookWords[look]}
      </td>
      <td>
        {leases > 0 && <span>{leases} in use</span>} {waiting > 0 && <span>{waiting} waiting</span>}
      </td>
      <td class="cut soft" title={names}>
        {names}
      </td>
    </tr>
  )
}
