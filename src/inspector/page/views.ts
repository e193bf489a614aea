/** All but the overview: they come after the page has opened, as a script of their own. */

export { Banners } from './frame/banners.tsx'
export { Keys, Search } from './frame/dialogs.tsx'
export * as sequence from './sequence.ts'
export { Machines as machines } from './views/machines-view.tsx'
export { Empty } from './views/overview-empty.tsx'
export { OtherMachines, ThisMachine } from './views/overview-members.tsx'
export { Requests as requests } from './views/requests-view.tsx'
export { Service as service } from './views/service-view.tsx'
export { Timeline as timeline } from './views/timeline-view.tsx'
export { TryIt as try } from './views/try-view.tsx'
