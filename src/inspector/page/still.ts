import { Component } from 'preact'

/** A component that is drawn again only where one of its values differs: most of a page stays as it is. */
export abstract class Still<Props extends object> extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    const now = this.props as Record<string, unknown>
    return Object.entries(next).some(([name, value]) => now[name] !== value)
  }
}
