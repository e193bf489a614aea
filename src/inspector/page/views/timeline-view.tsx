import { Screen, type ViewProps } from '../frame/view-frame.tsx'

export function Timeline(view: ViewProps) {
  return (
    <Screen view={view} title="Timeline">
      <p class="soft">This view is not built yet.</p>
    </Screen>
  )
}
