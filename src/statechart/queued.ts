import { sendParent, sendTo, spawnChild, stopChild } from 'xstate'
import type { ActionReference } from './xstate-internals.ts'

/** What `enqueueActions` collected, without building a function for each as xstate does. */
export interface Queued {
  readonly kind: 'assign' | 'emit' | 'raise' | 'cancel'
  readonly what: unknown
  readonly options?: { readonly id?: string; readonly delay?: unknown }
}

export type QueuedAction = Queued | { readonly kind: 'other'; readonly action: ActionReference }

/** The `enqueue` that `enqueueActions` hands to its callback: it appends to the list. */
export function createEnqueue(list: QueuedAction[]) {
  const pushOther = (action: unknown) => void list.push({ kind: 'other', action: action as ActionReference })
  return Object.assign((action: ActionReference) => pushOther(action), {
    assign: (what: unknown) => void list.push({ kind: 'assign', what }),
    emit: (what: unknown) => void list.push({ kind: 'emit', what }),
    raise: (what: unknown, options: Queued['options'] = {}) =>
      void list.push({ kind: 'raise', what, options }),
    cancel: (what: unknown) => void list.push({ kind: 'cancel', what }),
    sendTo: (target: never, event: never, options?: never) => pushOther(sendTo(target, event, options)),
    sendParent: (event: never, options?: never) => pushOther(sendParent(event, options)),
    spawnChild: (src: never, options?: never) => pushOther(spawnChild(src, options)),
    stopChild: (child: never) => pushOther(stopChild(child)),
  })
}
