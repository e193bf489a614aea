import { findWorkingFolder, type ServiceSetup } from './service-setup.ts'

/** An agent of the user's launchd. */
export function formatLaunchdPlist(setup: ServiceSetup): string {
  const { node, program, config, stopTimeoutSeconds, env, logFile } = setup
  const command = [node, program, 'serve', '--config', config]
  return `${[
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    '<plist version="1.0">',
    '<dict>',
    ...formatEntry('Label', formatText('leasehold')),
    ...formatEntry('ProgramArguments', [
      '<array>',
      ...command.map((one) => `  ${formatText(one)}`),
      '</array>',
    ]),
    ...formatEntry('WorkingDirectory', formatText(findWorkingFolder(setup))),
    ...formatEntry('EnvironmentVariables', [
      '<dict>',
      ...Object.entries(env).flatMap(([name, value]) => formatEntry(name, formatText(value))),
      '</dict>',
    ]),
    ...formatEntry('RunAtLoad', '<true/>'),
    '  <!-- Starts again after a failure. -->',
    ...formatEntry('KeepAlive', ['<dict>', ...formatEntry('SuccessfulExit', '<false/>'), '</dict>']),
    '  <!-- The longest drainTimeoutMs + stopGraceMs of the configuration, and a margin, in seconds. -->',
    ...formatEntry('ExitTimeOut', `<integer>${stopTimeoutSeconds}</integer>`),
    ...formatEntry('StandardOutPath', formatText(logFile)),
    ...formatEntry('StandardErrorPath', formatText(logFile)),
    '</dict>',
    '</plist>',
  ].join('\n')}\n`
}

function formatEntry(key: string, value: string | readonly string[]): string[] {
  return [`  <key>${escapeXml(key)}</key>`, ...[value].flat().map((line) => `  ${line}`)]
}

function formatText(text: string): string {
  return `<string>${escapeXml(text)}</string>`
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
