import { fileURLToPath } from 'node:url'
import type { Config } from '../config/config.ts'
import { parseConfig } from '../config/load.ts'

/** What the built-in configuration is called where a file name is shown. */
export const DEMO_NAME = 'built-in demo'

/** The configuration that is used when there is no file: a model server made of arithmetic, which needs no model. */
export function createDemoConfig(): Config {
  return parseConfig(toDemoText(process.execPath, fileURLToPath(new URL('./main.js', import.meta.url))), {
    file: DEMO_NAME,
  })
}

/** The demo configuration as a file would say it. `main`: the program of this command line. */
export function toDemoText(node: string, main: string): string {
  return `{
  models: {
    providers: {
      demo: {
        baseUrl: 'http://127.0.0.1:4142/v1',
        localService: {
          command: ${JSON.stringify(node)},
          args: [
            ${JSON.stringify(main)}, 'demo-server', '--port', '4142', '--models', 'arithmetic',
            '--load-ms', '2500', '--token-delay-ms', '15',
          ],
          healthUrl: 'http://127.0.0.1:4142/health',
          idleStopMs: 20000,
        },
        models: [{ id: 'arithmetic', name: 'Demo: sums and small talk' }],
      },
    },
  },
  agents: {
    defaults: {
      model: 'demo/arithmetic',
      models: { 'demo/arithmetic': { alias: 'demo' } },
    },
  },
}
`
}
