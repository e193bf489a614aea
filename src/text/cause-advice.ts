import type { TellingCause } from '../../machines/telling-line.ts'

/** What to do about a cause that a server's output names, as sentences; `undefined`: the cause is unknown. */
export const causeAdvice: Readonly<Record<TellingCause, string | undefined>> = {
  memory:
    'There was too little free memory. Use a smaller model or context, offload fewer layers to the GPU, or stop what else uses it; with needs and budgets leasehold makes room first.',
  library:
    'A shared library is missing. Install it, or set LD_LIBRARY_PATH in localService.env: a service gets only a part of your environment.',
  port: 'Stop the program that has the port, or give this service another port in args, baseUrl and healthUrl.',
  'port-permission': 'Give this service a port of 1024 or more in args, baseUrl and healthUrl.',
  format:
    'The model file is damaged, incomplete or of another format: download it again, or update the server.',
  argument: 'The server does not know an argument, or its value: correct localService.args.',
  module: 'A module is missing. Let command be the program of the environment in which it is installed.',
  program: 'A program that command needs is missing or not made for this host: write absolute paths.',
  file: 'A file or a model is not where args say: write absolute paths, since ~ and $HOME are not expanded.',
  permission:
    'The user that runs leasehold lacks a right: to a file, a device, or a model that needs a login.',
  other: undefined,
}
