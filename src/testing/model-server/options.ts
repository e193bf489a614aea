/** An answer given once in place of the real one, for imitating any backend's refusal. */
export interface OnceAnswer {
  readonly status: number
  /** A string is sent as it is, as text; anything else as JSON. Default: an OpenAI-shaped error. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** What a backend answers to a body that has a field it does not know. */
export interface FieldRefusal {
  readonly status: number
  readonly message: string
  /** Texts that the field may have all the same. @default [] */
  readonly accepts?: readonly string[]
}

/**
 * How the model server behaves, complete. All of it is JSON, `null` means "off", and every name is also
 * a flag of the demo server (`loadMs` is `--load-ms`). Values are read for each request, so a change
 * applies from the next one on; those marked "read once" are read by `listen()`.
 */
export interface ModelServerSettings {
  /** Address to bind. Read once. @default '127.0.0.1' */
  readonly host: string
  /** Port to bind; `0` takes a free one. Read once. @default 0 */
  readonly port: number
  /** Ids in `/v1/models`, at least one. Any model may be asked for; an unknown one is answered by the first. @default ['demo'] */
  readonly models: readonly string[]
  /** Key that every route but health and control asks for: as a bearer token, bare, or in `x-api-key`. @default null */
  readonly apiKey: string | null
  /** Whether `/__control` exists. Anyone who reaches the port may use it. Read once. @default false */
  readonly control: boolean
  /**
   * Directory in which this process keeps a file of what it executes: one JSON line when a request begins and one when it
   * ends, whatever ends the process. Made when it does not
   * exist. Read once. @default null
   */
  readonly journal: string | null

  /** Length of the load in milliseconds; until its end all routes answer 503. Read once. @default 0 */
  readonly loadMs: number
  /** Whether the port opens only after the load, as with vLLM: refused until then. Read once. @default false */
  readonly bindAfterLoad: boolean
  /** Path of the health route, for servers that have neither `/health` nor `/v1/health`. @default null */
  readonly healthPath: string | null
  /** Health during the load: llama.cpp's 503, mlx_lm's untrue 200, or no answer at all. @default '503' */
  readonly healthWhileLoading: '503' | '200' | 'hang'
  /** `/v1/models` during the load: 503, or 200 as in older llama.cpp versions. @default '503' */
  readonly modelsWhileLoading: '503' | '200'
  /**
   * Whether the load fails: `exit` ends with code 1 after `loadMs`, as llama.cpp does; `health500` stays
   * alive and answers 500 `{"status":"error"}` to health for ever, as inferrs does. `health500` also
   * works on a server that is ready. @default null
   */
  readonly failLoad: 'exit' | 'health500' | null
  /** Bytes of log text to print before the load ends. Read once. @default 0 */
  readonly logFloodBytes: number
  /** Time between two log lines in milliseconds; `0` prints none. Read once. @default 0 */
  readonly logLineEveryMs: number

  /** Time before the first token, in milliseconds. Answers that do not stream wait it too. @default 0 */
  readonly firstTokenMs: number
  /** Time between two tokens, in milliseconds. Answers that do not stream wait the sum. @default 0 */
  readonly tokenDelayMs: number
  /** Time before the response head of a POST, in milliseconds. @default 0 */
  readonly slowHeadersMs: number
  /** Idle time after which a kept connection is closed, in milliseconds; `0` never closes it. @default 5000 */
  readonly idleCloseMs: number
  /** Whether answers are compressed for clients that accept gzip. @default false */
  readonly gzip: boolean
  /** Whether a chat that asks for thinking gets `reasoning_content` before its answer. @default false */
  readonly reasoning: boolean

  /** Refuse content arrays in chat messages: 422, `messages[N].content: invalid type: sequence, expected a string`. @default false */
  readonly strictContent: boolean
  /** Refuse chat messages with fields other than `role` and `content`: 422, naming the field. @default false */
  readonly strictMessageKeys: boolean
  /** Refuse chat bodies with tools: 400, `tools param requires --jinja flag`. @default false */
  readonly rejectTools: boolean
  /** Refuse the `developer` role in chat messages: 422, ``unknown variant `developer` ``. @default false */
  readonly rejectDeveloper: boolean
  /** Refuse bodies with one of these top-level fields, with the answer given here. @default {} */
  readonly rejectFields: Readonly<Record<string, FieldRefusal>>
  /** Take bodies with these top-level fields and act as if the fields were absent. @default [] */
  readonly ignoreFields: readonly string[]

  /** Answer the next POST with 429 and `retry-after: 1`, then turn itself off. @default false */
  readonly status429Once: boolean
  /** Answer the next POST with this, then turn itself off. @default null */
  readonly statusOnce: OnceAnswer | null
  /** Answer health with a 302 to this URL. @default null */
  readonly redirectHealth: string | null
  /** Answer everything with 200 and a web page, as a stranger on the port would. @default false */
  readonly wrongServer: boolean
  /** Accept requests and never answer them; only health still does. @default false */
  readonly hang: boolean
  /** Never answer health. @default false */
  readonly hangHealth: boolean
  /** Crash when a POST has been read, before its response head. @default false */
  readonly crashBeforeResponse: boolean
  /** Crash after this many tokens of a stream. @default null */
  readonly crashMidStreamAfter: number | null
  /** Fall silent after this many tokens of a stream and keep the connection open. @default null */
  readonly stallMidStreamAfter: number | null
  /** End a stream properly on the wire after this many tokens: no finish reason, no `[DONE]`. @default null */
  readonly truncateAfter: number | null
  /** Send streams with neither length nor chunks: the end of the connection ends them. @default false */
  readonly closeDelimited: boolean
  /** End streams without `[DONE]`: a legal ending, the finish reason has been sent. @default false */
  readonly omitDone: boolean

  /** Take no notice of SIGTERM and SIGINT. Only the demo server's process has signals. @default false */
  readonly ignoreSigterm: boolean
  /** Time from SIGTERM to exit in milliseconds. A second signal exits at once, with code 1. @default 0 */
  readonly exitOnSigtermMs: number
  /**
   * Start a sleeping grandchild that holds our output open: in our process group, or in a session of its
   * own. It ends by itself after ten minutes. Read once; only the demo server's process does it. @default null
   */
  readonly forkGrandchild: 'group' | 'setsid' | null
}

/** Some of the settings; the others keep their value, at first the default. */
export type ModelServerOptions = {
  readonly [Name in keyof ModelServerSettings]?: ModelServerSettings[Name] | undefined
}
