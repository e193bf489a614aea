import { Screen, type ViewProps } from '../frame/view-frame.tsx'

export function Requests(view: ViewProps) {
  return (
    <Screen view={view} title="Requests">
      <p class="soft">This view is not built yet.</p>
    </Screen>
  )
}
