import { sendParent, sendTo, spawnChild, stopChild } from 'xstate'
import type { ActionReference } from './xstate-internals.ts'

/** What `enqueueActions` collected, without building a function for each as xstate does. */
export interface Queued {
  readonly kind: 'assign' | 'emit' | 'raise' | 'cancel'
  readonly what: unknown
  readonly options?: { readonly id?: string; readonly delay?: unknown }
}

export type QueuedAction = Queued | { readonly kind: 'other'; readonly action: ActionReference }

/** Collects what the callback of one `enqueueActions` asks for. */
export type Collect = (callback: (enqueue: Enqueue) => void) => readonly QueuedAction[]

/** The `enqueue` that `enqueueActions` hands to its callback. */
export type Enqueue = ReturnType<typeof createEnqueue>

/** Creates a collector: one `enqueue` serves every call, because most requests make three. */
export function createCollector(): Collect {
  let list: QueuedAction[] = []
  const enqueue = createEnqueue((queued) => void list.push(queued))
  return (callback) => {
    // A callback may send to another actor of the same chart.
    const outer = list
    const own: QueuedAction[] = []
    list = own
    try {
      callback(enqueue)
    } finally {
      list = outer
    }
    return own
  }
}

function createEnqueue(push: (queued: QueuedAction) => void) {
  const pushOther = (action: unknown) => push({ kind: 'other', action: action as ActionReference })
  return Object.assign((action: ActionReference) => pushOther(action), {
    assign: (what: unknown) => push({ kind: 'assign', what }),
    emit: (what: unknown) => push({ kind: 'emit', what }),
    raise: (what: unknown, options: Queued['options'] = {}) => push({ kind: 'raise', what, options }),
    cancel: (what: unknown) => push({ kind: 'cancel', what }),
    sendTo: (target: never, event: never, options?: never) => pushOther(sendTo(target, event, options)),
    sendParent: (event: never, options?: never) => pushOther(sendParent(event, options)),
    spawnChild: (src: never, options?: never) => pushOther(spawnChild(src, options)),
    stopChild: (child: never) => pushOther(stopChild(child)),
  })
}
