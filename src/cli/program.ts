import { isIP } from 'node:net'
import { Argument, Command, InvalidArgumentError, Option } from 'commander'
import { toDurationMs } from '../config/duration-form.ts'
import { parseFlags } from '../testing/model-server/option-fields.ts'
import { buildDemoServerHelp } from './demo-server-help.ts'
import { exitCodeHelp, findExitCode, listErrorFacts } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

/** A command: prints, and settles with the exit code. */
type Run = () => Promise<number> | number

/**
 * The grammar of the command line. Each command loads its own code when it is called, so that `--help` needs none.
 * `onExit` gets the exit code of the command that ran.
 */
export function createProgram(version: string, terminal: Terminal, onExit: (code: number) => void): Command {
  /** With `--json` a failure is a document, too. */
  const perform = async ({ json }: { readonly json?: boolean }, run: Run) => {
    try {
      onExit(await run())
    } catch (error) {
      if (!json) throw error
      terminal.json({ ok: false, error: listErrorFacts(error) })
      onExit(findExitCode(error))
    }
  }
  const program = new Command('leasehold')
    .description(
      'Starts a local model server when a request needs it, holds a lease while the answer streams, stops it when idle.',
    )
    .version(version)
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
    .showSuggestionAfterError()
    .exitOverride()
    .addHelpText('after', `${CONFIGURATION_HELP}\n${exitCodeHelp}`)

  const add = (
    parent: Command,
    usage: string,
    summary: string,
    example: string,
    json = 'print one JSON document',
  ) =>
    parent
      .command(usage)
      .description(summary)
      .addHelpText('after', `\nExample:\n  ${example}\n${exitCodeHelp}`)
      .addOption(new Option('--json', json))
  const configured = (command: Command) => command.option('--config <file>', 'configuration file')
  const remote = (command: Command) =>
    configured(command).option('--gateway <url>', 'URL of the gateway (default: from the configuration)')

  configured(
    add(
      program,
      'serve',
      'run the gateway until a signal stops it',
      'leasehold serve --port 4141',
      'print one JSON document per event',
    )
      .option('--host <host>', 'address to listen on; beyond loopback only with apiKeys', parseAddress)
      .option('--port <port>', 'port to listen on; 0 takes a free one', parsePort)
      .option('--watch', 'reload the configuration when one of its files changes')
      .option('--record <file>', 'record every event, for leasehold replay and for the page')
      .addOption(
        new Option('--log-level <level>', 'write a log to stderr').choices([
          'debug',
          'info',
          'warn',
          'error',
        ]),
      )
      .addOption(
        new Option(
          '--log-format <format>',
          'format of the log (default: pretty on a terminal, else json)',
        ).choices(['json', 'pretty']),
      )
      .addHelpText('after', `${CONFIGURATION_HELP}\n${RELOAD_HELP}`),
  ).action((options) =>
    perform(options, async () => (await import('./serve.ts')).serve(options, version, terminal)),
  )

  add(
    program,
    'init',
    'write a configuration for the models of this host, or from that of another program',
    'leasehold init ~/models',
  )
    .argument(
      '[path...]',
      'folders and GGUF files (default: where llama.cpp, Hugging Face, LM Studio and Ollama keep them); with --from the configuration of the other program',
    )
    .addOption(
      new Option('--from <program>', 'translate the configuration of another program').choices([
        'llama-swap',
      ]),
    )
    .option('--engine <name>', 'engine that loads the models (default: the first one found)')
    .option('--context <tokens>', 'longest context to load a model with (default: 16384)', parseCount)
    .option(
      '--idle-stop <duration>',
      'time without a request after which a server stops; 0 for never (default: 10m)',
      parseIdleStop,
    )
    .option('--output <file>', 'file to write; an existing one is never written over', 'leasehold.json5')
    .option('--dry-run', 'print the configuration instead of writing it')
    .option('-y, --yes', 'ask nothing')
    .action((paths, options) =>
      perform(options, async () => (await import('./init.ts')).init(paths, options, terminal)),
    )

  configured(
    add(
      program,
      'doctor',
      'check host, programs and ports; start each service once, measure it, and find the compat flags that its server needs',
      'leasehold doctor llama --write',
    )
      .argument('[ref...]', `${REFERENCE} (default: every service)`)
      .option('--no-start', 'only what can be known without starting a server')
      .option('--write', 'write what the file lacks into it; comments stay')
      .addHelpText('after', DOCTOR_HELP),
  ).action((ids, options) =>
    perform(options, async () =>
      (await import('./doctor-command.ts')).examineConfiguration(ids, options, terminal),
    ),
  )

  const infer = program.command('infer').description('send a prompt to a model')
  const model = infer.command('model').description('send a prompt to a model')
  configured(
    add(
      model,
      'run',
      'send one prompt to a model, in the api of its provider; starts its server if it is down, and stops it afterwards',
      'leasehold infer model run --model demo --prompt "What is 6 * 7?"',
    )
      .requiredOption('--prompt <text>', 'the prompt; - reads standard input')
      .option('--model <ref>', 'PROVIDER/MODEL or an alias (default: the default model)')
      .option('--file <image>', 'attach an image; may be repeated', collect, [])
      .option('--thinking <level>', 'off, low, medium, high, or another level that the model accepts')
      .option('--system <text>', 'system prompt')
      .option('--max-tokens <n>', 'longest answer, in tokens', parseCount)
      .option('--temperature <x>', 'sampling temperature', parseAmount)
      .option('--timeout <seconds>', 'time limit for the whole command, including a cold start', parseTimeout)
      .addOption(
        new Option('--local', 'run the server in this process, even if a gateway is running').conflicts(
          'gateway',
        ),
      )
      .option('--gateway [url]', 'use a running gateway, and fail if there is none'),
  ).action((options) =>
    perform(options, async () => (await import('./infer.ts')).runModel(options, terminal)),
  )

  configured(
    program
      .command('chat')
      .description('talk to a model on the terminal; each line is a question')
      .addHelpText(
        'after',
        `\nExample:\n  leasehold chat demo\n\nA line that is one of these is not sent: /new (forget what was said), /help, /exit.\nTo send a word with a slash alone: //word\n${exitCodeHelp}`,
      )
      .argument('[ref]', 'PROVIDER/MODEL, a model id or an alias (default: the default model)')
      .option('--system <text>', 'system prompt')
      .option('--thinking <level>', 'off, low, medium, high, or another level that the model accepts')
      .option('--max-tokens <n>', 'longest answer, in tokens', parseCount)
      .option('--temperature <x>', 'sampling temperature', parseAmount)
      .addOption(
        new Option('--local', 'run the server in this process, even if a gateway is running').conflicts(
          'gateway',
        ),
      )
      .option('--gateway [url]', 'use a running gateway, and fail if there is none'),
  ).action((ref, options) =>
    perform(options, async () => (await import('./chat.ts')).chat(ref, options, terminal)),
  )

  const models = program.command('models').description('the configured models')
  configured(
    add(models, 'list', 'list the configured models; starts nothing', 'leasehold models list --json'),
  ).action((options) =>
    perform(options, async () => (await import('./models.ts')).listModels(options, terminal)),
  )

  remote(
    add(
      program,
      'status',
      'show every service of the running gateway',
      'leasehold status --watch',
      'print one JSON document per refresh',
    )
      .option('--watch', 'refresh the table until Ctrl-C')
      .option('--all', 'the services of every member of the cluster'),
  ).action((options) =>
    perform(options, async () => (await import('./status.ts')).showStatus(options, terminal)),
  )

  remote(add(program, 'members', 'show the machines of the cluster', 'leasehold members')).action((options) =>
    perform(options, async () => (await import('./members-command.ts')).showMembers(options, terminal)),
  )

  remote(
    add(
      program,
      'drain',
      'take this machine out of its cluster: it finishes its requests, others take the new ones',
      'leasehold drain --undo',
    ).option('--undo', 'take new requests again'),
  ).action((options) =>
    perform(options, async () => (await import('./members-command.ts')).drainMember(options, terminal)),
  )

  const cluster = program.command('cluster').description('several machines as one')
  configured(
    add(
      cluster,
      'check',
      'find what keeps this machine and the others of its cluster apart',
      'leasehold cluster check',
    ),
  ).action((options) =>
    perform(options, async () => (await import('./cluster-command.ts')).showClusterCheck(options, terminal)),
  )
  add(
    cluster,
    'nats-config',
    'make a key for each member, and print a configuration of nats-server that lets each speak for itself only',
    'leasehold cluster nats-config tower attic > nats.conf',
  )
    .argument('<member...>', 'names of the members')
    .option('--keys <folder>', 'where the keys are written, as MEMBER.nk', '.')
    .option('--prefix <prefix>', 'leasehold.cluster.prefix', 'leasehold')
    .action((members, options) =>
      perform(options, async () =>
        (await import('./cluster-command.ts')).printNatsConfig(members, options, terminal),
      ),
    )

  remote(
    add(program, 'start', 'start a service and wait until it is ready', 'leasehold start demo')
      .argument('<ref>', REFERENCE)
      .option('--no-wait', 'return at once; leasehold status shows how it goes'),
  ).action((id, options) =>
    perform(options, async () => (await import('./control.ts')).startService(id, options, terminal)),
  )

  remote(
    add(
      program,
      'stop',
      'stop a service and wait until all of its processes have ended',
      'leasehold stop demo',
    )
      .argument('[ref]', REFERENCE)
      .option('--all', 'stop every service')
      .option('--force', 'cut open requests instead of waiting for them'),
  ).action((id, options) =>
    perform(options, async () => (await import('./control.ts')).stopService(id, options, terminal)),
  )

  remote(
    add(
      program,
      'logs',
      "show the output of a service; without one leasehold's own log",
      'leasehold logs demo -f',
    )
      .argument('[ref]', REFERENCE)
      .option('--all', "leasehold's own log and the output of every service")
      .option('-f, --follow', 'follow new output; with --json one JSON document per line'),
  ).action((id, options) =>
    perform(options, async () => (await import('./logs.ts')).showLogs(id, options, terminal)),
  )

  remote(
    add(
      program,
      'why',
      'explain the state of a service, what happens next, and what you can do',
      'leasehold why demo',
    ),
  )
    .argument('<ref>', REFERENCE)
    .action((id, options) =>
      perform(options, async () => (await import('./why.ts')).explainService(id, options, terminal)),
    )

  remote(
    add(
      program,
      'requests',
      'show the requests under way and the last ones, with where their time went',
      'leasehold requests --last 50',
    ).option('--last <n>', 'how many requests that ended to show', parseCount, 20),
  ).action((options) =>
    perform(options, async () => (await import('./requests-command.ts')).showRequests(options, terminal)),
  )

  remote(
    add(
      program,
      'events',
      'show the last events, as sentences',
      'leasehold events -f --types service.,lease.refused',
      'print one JSON document per event',
    )
      .option('-f, --follow', 'follow new events')
      .option('--last <n>', 'how many past events to show first', parseCount, 50)
      .option('--types <types>', 'only these types; a name that ends in a dot is a prefix')
      .option('--raw', 'print types and facts instead of sentences'),
  ).action((options) =>
    perform(options, async () => (await import('./events-command.ts')).showEvents(options, terminal)),
  )

  add(
    program,
    'replay',
    'replay a recording of serve --record through the statecharts; fails where they behave differently',
    'leasehold replay crash.ndjson',
  )
    .argument('<file...>', 'a recording, or those of several members of a cluster')
    .option('--service <id>', 'only this service')
    .option('--to-script <file>', 'write the events of one service as an event script')
    .option('--clocks-differ <ms>', 'by how much the clocks of members may differ', parseCount, 1000)
    .action((files, options) =>
      perform(options, async () =>
        (await import('./replay-command.ts')).replayRecordings(files, options, terminal),
      ),
    )

  const config = program.command('config').description('check or print a configuration')
  configured(
    add(
      config,
      'validate',
      'list every problem with its line and column',
      'leasehold config validate leasehold.json5',
    ),
  )
    .argument('[file]', 'configuration file')
    .action((file, options) =>
      perform(options, async () =>
        (await import('./config-command.ts')).validateConfig(file, options, terminal),
      ),
    )
  configured(
    add(
      config,
      'print',
      'print the configuration as a file with everything written out, secrets as ***',
      'leasehold config print leasehold.json5',
    ),
  )
    .argument('[file]', 'configuration file')
    .action((file, options) =>
      perform(options, async () =>
        (await import('./config-command.ts')).printConfig(file, options, terminal),
      ),
    )
  add(
    config,
    'schema',
    'print the JSON Schema of a configuration file',
    'leasehold config schema > leasehold.schema.json',
  ).action((options) =>
    perform(options, async () => (await import('./config-command.ts')).printConfigSchema(options, terminal)),
  )

  const service = program.command('service').description('run the gateway when you log in')
  const managed = (command: Command) =>
    configured(command).addOption(
      new Option('--manager <name>', 'what starts it (default: that of this host)').choices([
        'systemd',
        'launchd',
      ]),
    )
  managed(
    add(
      service,
      'print',
      'print a systemd user unit, or a launchd agent, that runs the gateway',
      'leasehold service print --manager systemd',
    ),
  ).action((options) =>
    perform(options, async () =>
      (await import('./service/service-command.ts')).printService(options, terminal),
    ),
  )
  managed(
    add(service, 'install', 'show that file, ask, and write it', 'leasehold service install')
      .option('-y, --yes', 'ask nothing')
      .option('--force', 'write over a file that is different'),
  ).action((options) =>
    perform(options, async () =>
      (await import('./service/service-command.ts')).installService(options, terminal),
    ),
  )

  program
    .command('completion')
    .description('print a script that completes commands, options, services and models')
    .addArgument(new Argument('<shell>', 'your shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText('after', COMPLETION_HELP)
    .action((shell) =>
      perform({}, async () =>
        (await import('./completion/completion-command.ts')).printCompletionScript(shell, terminal),
      ),
    )
  program
    .command('complete', { hidden: true })
    .description('print what the last word may become')
    .argument('[word...]', 'the words after leasehold')
    .allowUnknownOption()
    .action((words) =>
      perform({}, async () =>
        (await import('./completion/completion-command.ts')).completeWords(program, words, terminal),
      ),
    )

  const keys = program.command('keys').description('keys of the gateway')
  add(
    keys,
    'new',
    'create a key for leasehold.apiKeys; prints it once, or writes it to a new file',
    'leasehold keys new ~/.config/leasehold/key',
  )
    .argument('[file]', 'a new file, readable only by its owner')
    .action((file, options) =>
      perform(options, async () => (await import('./keys.ts')).makeKey(file, options, terminal)),
    )

  const machines = program.command('machines').description('the statecharts of leasehold')
  add(
    machines,
    'print',
    'print a statechart as a diagram, or as JSON that createMachine loads',
    'leasehold machines print --machine request',
  )
    .addOption(
      new Option('--machine <name>', 'the statechart to print')
        .choices([
          'borrowing',
          'claim',
          'member',
          'neighbour',
          'placement',
          'provider',
          'request',
          'run',
          'supervisor',
        ])
        .default('provider'),
    )
    .addOption(
      new Option('--format <format>', 'output format').choices(['mermaid', 'json']).default('mermaid'),
    )
    .action(({ json, machine, format }) =>
      perform({ json }, async () =>
        (await import('./machines.ts')).printMachine({ machine, format: json ? 'json' : format }, terminal),
      ),
    )

  const script = program.command('script').description('event scripts')
  add(
    script,
    'run',
    'run event scripts and print what happens; fails when an expectation is not met',
    'leasehold script run test/scripts/idle-stop.json5',
  )
    .argument('<file...>', 'event scripts')
    .option('--real', 'use a real process and real sockets instead of a virtual clock')
    .action((files, options) =>
      perform(options, async () =>
        (await import('./script-command.ts')).runScripts(files, options, terminal),
      ),
    )
  add(
    script,
    'schema',
    'print the JSON Schema of an event script',
    'leasehold script schema > script.schema.json',
  ).action((options) =>
    perform(options, async () => (await import('./script-command.ts')).printScriptSchema(options, terminal)),
  )

  program
    .command('demo-server')
    .description('run a fake model server for demos (arithmetic, canned chat)')
    .argument('[flags...]', 'its options, see leasehold demo-server --help')
    .allowUnknownOption()
    .addHelpText(
      'after',
      '\nExample:\n  leasehold demo-server --port 4142 --load-ms 2500 --token-delay-ms 15',
    )
    .addHelpText('after', buildDemoServerHelp)
    .action(async (flags: readonly string[]) => {
      // By itself that program exits with 1 for wrong flags; here they are wrong usage, as with any command.
      parseFlags(flags)
      const { runDemoServer } = await import('../testing/demo-server.ts')
      runDemoServer(flags)
    })
  return program
}

const REFERENCE = 'a provider id, PROVIDER/MODEL, a model id or an alias'

const CONFIGURATION_HELP = `
The configuration is --config FILE, else $LEASEHOLD_CONFIG, else ./leasehold.json5
or ./leasehold.json, else the same names in ~/.config/leasehold ($XDG_CONFIG_HOME), else builtin:demo.
builtin:demo is a demo that needs no model; its server listens on a free port. FILE may also be builtin:demo.
Other variables: LEASEHOLD_API_KEY, NO_COLOR, LEASEHOLD_DEBUG=1 (errors with their stack).`

const DOCTOR_HELP = `
A service that the gateway uses is left alone, and a server that runs already is asked and goes on running. What the
doctor starts it stops, also after Ctrl-C. The exit code is 1 when there is an error or a warning.`

const RELOAD_HELP = `
Reload, with --watch or on SIGHUP:
  --watch looks at the file, at the files that it includes and at its files of secrets.
  An invalid file is refused with line and column, and the current configuration stays in force. A service that did not
  change keeps running. A service that was removed, or whose program changed, finishes its requests and stops; requests
  that wait for a changed service wait for the new one. Keys, aliases, compat flags and limits apply from the next
  request on. host and port apply after a restart of leasehold. SIGHUP reloads only without a terminal, for instance
  under a service manager; with a terminal, SIGHUP means that the terminal was closed, and ends leasehold.`

function collect(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value]
}

const COMPLETION_HELP = `
Examples:
  bash  eval "$(leasehold completion bash)"   in ~/.bashrc
  zsh   eval "$(leasehold completion zsh)"    in ~/.zshrc, after compinit
  fish  leasehold completion fish > ~/.config/fish/completions/leasehold.fish`

function parseAddress(text: string): string {
  if (text === 'localhost' || isIP(text) !== 0) return text
  throw new InvalidArgumentError('Expected an IP address of this host, or localhost.')
}

function parsePort(text: string): number {
  return parseWhole(text, 0, 65_535)
}

function parseCount(text: string): number {
  return parseWhole(text, 1, Number.MAX_SAFE_INTEGER)
}

function parseWhole(text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= least && value <= most) return value
  throw new InvalidArgumentError(`Expected a whole number from ${least} to ${most}.`)
}

function parseAmount(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (value >= 0 && Number.isFinite(value)) return value
  throw new InvalidArgumentError('Expected a number that is not negative.')
}

function parseIdleStop(text: string): string {
  const ms = text === '0' ? 0 : toDurationMs(text)
  if (ms !== undefined && Number.isInteger(ms) && ms <= MAX_TIMER_MS) return text
  throw new InvalidArgumentError('Expected a duration such as 10m or 1h30m, or 0.')
}

const MAX_TIMER_MS = 2_147_483_647

/** A timer holds at most 2^31-1 milliseconds. */
function parseTimeout(text: string): number {
  const value = parseAmount(text)
  if (value > 0 && value <= 2_147_483) return value
  throw new InvalidArgumentError('Expected a number of seconds above 0, at most 2147483.')
}
