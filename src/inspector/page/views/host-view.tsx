import { useState } from 'preact/hooks'
import { Screen, type ViewProps } from '../frame/view-frame.tsx'
import { useHardware } from './hardware-samples.ts'
import { HostHardware } from './host-hardware.tsx'
import { Log } from './output-log.tsx'
import { useOwnLog } from './own-log-lines.ts'

/** The computer that leasehold runs on, and what leasehold itself says. */
export function Host(view: ViewProps) {
  const { app, atMs } = view
  const { history, recording } = app.state
  const [withServers, show] = useState(false)
  const lines = useOwnLog(app, withServers)
  const hardware = useHardware(app)
  const isHeld = history.cursor !== null
  return (
    <Screen
      view={view}
      title="Host"
      tools={
        <div class="seg" role="group" aria-label="Whose log">
          <button type="button" aria-pressed={!withServers} onClick={() => show(false)}>
            leasehold
          </button>
          <button type="button" aria-pressed={withServers} onClick={() => show(true)}>
            All servers
          </button>
        </div>
      }
    >
      {hardware !== null && <HostHardware hardware={hardware} atMs={atMs} />}
      <Log
        app={app}
        title="Log"
        name="leasehold"
        lines={isHeld ? lines.filter((line) => line.atMs <= atMs) : lines}
        cause={null}
        isRecording={recording !== null}
        none={
          recording === null
            ? 'Nothing has been logged yet.'
            : 'A recording holds no log. Its messages are in Machines.'
        }
      />
    </Screen>
  )
}
