import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

/** The service whose server runs in a container, in the network and among the processes of the host. */
export const CONTAINER = 'zeta'

/** The engines of the tests of containers, which are written in TypeScript. */
async function importEngines() {
  const file = new URL('../containers/engines.ts', import.meta.url)
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(file)],
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(fileURLToPath(file)).href) },
  })
  const [{ contents }] = outputFiles
  return import(`data:text/javascript;base64,${Buffer.from(contents).toString('base64')}`)
}

/** Opens a container engine of this campaign alone: `{ engine }`, or why there is none as `{ obstacle }`. */
export async function openContainerEngine() {
  const { findObstacle, openEngine } = await importEngines()
  const obstacles = []
  for (const name of ['docker', 'podman']) {
    const obstacle = findObstacle(name)
    try {
      if (obstacle === undefined) return { engine: await openEngine(name, { hasBridge: false }) }
      obstacles.push(obstacle)
    } catch (error) {
      obstacles.push(`${name} does not start: ${error.message}`)
    }
  }
  return { obstacle: obstacles.join('; ') }
}

/**
 * What the service's `localService` says instead of a command.
 * @param env variables inside of it, which mark its processes
 * @param folders shared with it, under the same names
 * @param words what it runs
 */
export function toContainer(engine, { env, folders, words }) {
  return {
    env: engine.env,
    container: {
      engine: engine.name,
      image: 'leasehold-node',
      network: 'host',
      env,
      volumes: folders,
      // Its processes have the numbers of this host, so that no two journals have one name.
      options: [...engine.options, '--pid', 'host'],
      args: ['/bin/node', ...words],
    },
  }
}
