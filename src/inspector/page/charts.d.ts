/** The statecharts as pictures, laid out when the page is built. */
declare module 'leasehold:charts' {
  import type { Chart } from '../chart-layout.ts'

  export const charts: { readonly provider: Chart }
}
