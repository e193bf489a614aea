/** Views that come after the page has opened, as a script of their own; the tools come after them. */

export { Banners } from './frame/banners.tsx'
export { Keys, Search } from './frame/dialogs.tsx'
export { Empty } from './views/overview-empty.tsx'
export { OtherMachines, ThisMachine } from './views/overview-members.tsx'
export { Requests as requests } from './views/requests-view.tsx'
export { Service as service } from './views/service-view.tsx'
export { Timeline as timeline } from './views/timeline-view.tsx'
