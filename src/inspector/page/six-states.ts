interface SixState {
  readonly id: string
  readonly name: string
  readonly detail: string
  readonly x: number
  readonly y: number
}

/** The six states of a life. A test compares them, and the ways between them, with the machine. */
export const sixStates: readonly SixState[] = [
  { id: 'down', name: 'Down', detail: 'nothing runs', x: 8, y: 44 },
  { id: 'probing', name: 'Looking', detail: 'is one running?', x: 170, y: 44 },
  { id: 'starting', name: 'Starting', detail: 'room, then load', x: 344, y: 44 },
  { id: 'ready', name: 'Ready', detail: 'not in use', x: 518, y: 44 },
  { id: 'leased', name: 'In use', detail: 'answers stream', x: 692, y: 44 },
  { id: 'idle-stopping', name: 'Stopping', detail: 'until it has ended', x: 518, y: 146 },
]

/** What a state of a life is made of. */
export const innerNames: Readonly<Record<string, string>> = {
  'down.cold': 'nothing runs',
  'down.backoff': 'waits to retry',
  'down.tripped': 'refuses requests',
  'starting.claiming': 'waits for its turn',
  'starting.spawning': 'starts the process',
  'starting.warming': 'loads the model',
  'ready.falling-asleep': 'is told to sleep',
  'ready.asleep': 'gave its memory back',
  'ready.waking': 'takes it again',
  'leased.open': 'answers stream',
  'leased.draining': 'finishes, then stops',
  'idle-stopping.terminating': 'asked to end',
  'idle-stopping.killing': 'killed',
  'idle-stopping.sweeping': 'its rest is ended',
}

export interface SixWay {
  readonly from: string
  readonly to: string
  readonly line: string
  readonly head: string
  readonly at: readonly [number, number]
  readonly label: string
  readonly isStart?: boolean
}

/** The ways that a life usually takes. */
export const sixWays: readonly SixWay[] = [
  {
    from: 'down',
    to: 'probing',
    line: 'M112 66H166',
    head: 'M170 66l-7-3.6v7.2z',
    at: [140, 59],
    label: 'request',
  },
  {
    from: 'probing',
    to: 'starting',
    line: 'M274 66H340',
    head: 'M344 66l-7-3.6v7.2z',
    at: [308, 59],
    label: 'none runs',
  },
  {
    from: 'starting',
    to: 'ready',
    line: 'M448 66H514',
    head: 'M518 66l-7-3.6v7.2z',
    at: [482, 59],
    label: 'healthy',
  },
  {
    from: 'probing',
    to: 'ready',
    line: 'M222 44V24Q222 16 230 16H562Q570 16 570 24V40',
    head: 'M570 44l-3.6-7h7.2z',
    at: [396, 11],
    label: 'one runs already',
  },
  {
    from: 'ready',
    to: 'leased',
    line: 'M622 57H688',
    head: 'M692 57l-7-3.6v7.2z',
    at: [656, 50],
    label: 'request',
  },
  {
    from: 'leased',
    to: 'ready',
    line: 'M692 76H626',
    head: 'M622 76l7-3.6v7.2z',
    at: [658, 91],
    label: 'answered',
  },
  {
    from: 'ready',
    to: 'idle-stopping',
    line: 'M570 88V142',
    head: 'M570 146l-3.6-7h7.2z',
    at: [580, 119],
    label: 'idle, or room is needed',
    isStart: true,
  },
  {
    from: 'leased',
    to: 'idle-stopping',
    line: 'M744 88V160Q744 168 736 168H626',
    head: 'M622 168l7-3.6v7.2z',
    at: [686, 184],
    label: 'drained',
  },
  {
    from: 'idle-stopping',
    to: 'down',
    line: 'M518 168H44Q36 168 36 160V92',
    head: 'M36 88l-3.6 7h7.2z',
    at: [276, 184],
    label: 'has ended',
  },
  {
    from: 'starting',
    to: 'down',
    line: 'M396 88V120Q396 128 388 128H88Q80 128 80 120V92',
    head: 'M80 88l-3.6 7h7.2z',
    at: [238, 122],
    label: 'failed',
  },
]
