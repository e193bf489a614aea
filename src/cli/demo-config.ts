import { fileURLToPath } from 'node:url'
import { type Loaded, parseWithValues } from '../config/load.ts'

/** The name of the built-in configuration, in place of a file name. */
export const DEMO_NAME = 'builtin:demo'

/**
 * Makes the configuration that is used without a file: the demo model server (arithmetic, canned chat). Each one uses
 * a free port of its own, so that two demos do not share a server.
 */
export async function createDemoConfig(): Promise<Loaded> {
  const { findFreePort } = await import('../testing/real-host.ts')
  return parseWithValues(writeDemoConfig(await findFreePort()), { file: DEMO_NAME })
}

/** The demo configuration as the text of a file. */
function writeDemoConfig(port: number): string {
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
