import { findWorkingFolder, type ServiceSetup } from './service-setup.ts'

/** A unit of the user's systemd. */
export function formatSystemdUnit(setup: ServiceSetup): string {
  const { node, program, config, stopTimeoutSeconds, env, environmentFile } = setup
  const command = [node, program, 'serve', '--config', config].map(quoteArgument).join(' ')
  const variables = Object.entries(env).map(([name, value]) => `Environment=${quote(`${name}=${value}`)}`)
  return `${[
    '[Unit]',
    'Description=leasehold: starts local model servers when requests need them',
    'After=network.target',
    '',
    '[Service]',
    'Type=exec',
    `ExecStart=${command}`,
    // Reads the configuration again.
    'ExecReload=/bin/kill -HUP $MAINPID',
    `WorkingDirectory=${escapeSpecifiers(findWorkingFolder(setup))}`,
    ...variables,
    '# Lines NAME=VALUE, for secrets that the configuration names. The file need not exist.',
    `EnvironmentFile=-${escapeSpecifiers(environmentFile)}`,
    '# Only leasehold gets the signal: it lets answers end, and stops its servers itself.',
    'KillMode=mixed',
    '# The longest drainTimeoutMs + stopGraceMs of the configuration, and a margin.',
    `TimeoutStopSec=${stopTimeoutSeconds}`,
    'Restart=on-failure',
    'RestartSec=2',
    '# The configuration is invalid: starting again changes nothing.',
    'RestartPreventExitStatus=2',
    '',
    '[Install]',
    'WantedBy=default.target',
  ].join('\n')}\n`
}

/** An argument of a command: systemd replaces variables in it, too. */
function quoteArgument(text: string): string {
  return quote(text).replaceAll('$', '$$$$')
}

function quote(text: string): string {
  const escaped = escapeSpecifiers(text)
  return /^[\w@%+=:,./-]+$/.test(escaped) ? escaped : `"${escaped.replace(/[\\"]/g, '\\$&')}"`
}

/** `%h` and its like are replaced everywhere. */
function escapeSpecifiers(text: string): string {
  return text.replaceAll('%', '%%')
}
