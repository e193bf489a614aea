import { fileURLToPath } from 'node:url'
import type { Config } from '../config/config.ts'
import { parseConfig } from '../config/load.ts'
import { findFreePort } from '../testing/real-host.ts'

/** What the built-in configuration is called where a file is named or shown. */
export const DEMO_NAME = 'builtin:demo'

/**
 * Makes the configuration that is used when there is no file: a model server made of arithmetic, which needs no
 * model. Each one has a free port of its own, so that two demos at once do not share a server.
 */
export async function createDemoConfig(): Promise<Config> {
  return parseConfig(toDemoText(await findFreePort()), { file: DEMO_NAME })
}

/** The demo configuration as a file would say it. */
function toDemoText(port: number): string {
  const main = fileURLToPath(new URL('./main.js', import.meta.url))
  return `{
  models: {
    providers: {
      demo: {
        baseUrl: 'http://127.0.0.1:${port}/v1',
        localService: {
          command: ${JSON.stringify(process.execPath)},
          args: [
            ${JSON.stringify(main)}, 'demo-server', '--port', '${port}', '--models', 'arithmetic',
            '--load-ms', '2500', '--token-delay-ms', '15',
          ],
          healthUrl: 'http://127.0.0.1:${port}/health',
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
