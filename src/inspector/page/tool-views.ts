/** What is opened less often than the views: the last script of the page. */

export * as sequence from './sequence.ts'
export { Host as host } from './views/host-view.tsx'
export { Machines as machines } from './views/machines-view.tsx'
export { TryIt as try } from './views/try-view.tsx'
