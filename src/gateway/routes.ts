/** One door of the gateway. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** Path as people write it. */
  readonly path: string
  readonly meaning: string
}

/** Everything the gateway answers: the table of the README beside this file. What is not here is answered with 404. */
export const routes: readonly Route[] = [
  {
    method: 'POST',
    path: '/v1/chat/completions',
    meaning:
      'And `completions`, `embeddings`, `responses`, `messages`, `rerank`, `audio/*`, `images/*`, or any other path below `/v1` with a model: leased, rewritten, forwarded, streamed. A wrong spelling of one of the first five or of `rerank` (`/v1/chat/completion`), and a path with `/v1` twice, missing or behind `//`, is answered with 404 and the path that was meant, before anything starts.',
  },
  {
    method: 'GET',
    path: '/v1/models',
    meaning:
      'The configured models with the state of their service (in a cluster the best one of its members), the `api` that their server speaks, and with the context size (`context_length`, `max_model_len`, `meta.n_ctx`) where it is configured or the running server states it: the smaller one. And with what it takes and can do (`architecture`, `capabilities`), as its running server or the GGUF file says. Starts and asks nothing.',
  },
  { method: 'GET', path: '/v1/models/{id}', meaning: 'One of them, by any reference.' },
  {
    method: 'POST',
    path: '/infill',
    meaning:
      "And `completion`, `tokenize`, `detokenize`, `apply-template`, `rerank`, `reranking`: llama.cpp's own routes, at the root and below `/v1`, by `model` in the body. `GET /props` and `GET /slots` by `?model=`.",
  },
  {
    method: 'GET',
    path: '/upstream/{id}/{path}',
    meaning:
      "Any path and method of the server behind a service, WebSockets too: its own web page works through it. A GET starts nothing unless it has `?start=1`; of a server that leasehold does not start it is passed on at once. Secrets in an answer are masked; what a WebSocket carries is not. Its pages run on the gateway's origin: with a server that you do not trust, set `controlKeys`.",
  },
  {
    method: 'POST',
    path: '/api/chat',
    meaning:
      "And `generate`, `embed`, `embeddings`, `show`, `GET tags`, `ps`, `version`: Ollama's API, with its streams, tools, images, `format`, `think` and `options`. Opened by client keys; an unload (`keep_alive: 0` without a prompt), which stops the service at once, by those of the control surface.",
  },
  {
    method: 'GET',
    path: '/',
    meaning:
      "The live page. `GET /inspect/stately` is Stately's own inspector, loaded from the internet, with the states of the machines.",
  },
  {
    method: 'GET',
    path: '/health',
    meaning: 'The gateway itself. `HEAD` works here and wherever `GET` does.',
  },
  {
    method: 'GET',
    path: '/metrics',
    meaning:
      'For Prometheus: requests, queues, leases, starts, stops, tokens. A dashboard for Grafana ships as `leasehold/grafana.json`.',
  },
  {
    method: 'GET',
    path: '/api/services',
    meaning: 'Every service: state, lease count, queue, running timers, last failure.',
  },
  {
    method: 'GET',
    path: '/api/services/{id}',
    meaning: 'One service, by provider id or by any reference to a model.',
  },
  {
    method: 'POST',
    path: '/api/services/{id}/start',
    meaning:
      'Starts it; answers when it is ready, with `{"wait":false}` at once (202). Closes an open breaker.',
  },
  {
    method: 'POST',
    path: '/api/services/{id}/stop',
    meaning:
      'Drains and stops it; `{"force":true}` does not drain. Answers when all of its processes have ended.',
  },
  {
    method: 'POST',
    path: '/api/stop',
    meaning: "Stops every service, with the same body. `POST /unload` and `GET /running` are llama-swap's.",
  },
  {
    method: 'GET',
    path: '/api/members',
    meaning: 'The members of the cluster, this one first: state, address, version and what each offers.',
  },
  {
    method: 'POST',
    path: '/api/drain',
    meaning:
      'Of a member of a cluster: it takes no new requests, and others take them; `{"undo":true}` ends that. The answer is that of `/api/members`.',
  },
  {
    method: 'GET',
    path: '/cluster/card',
    meaning: 'What this member offers, for the other members. It needs the proof of one, and no key.',
  },
  {
    method: 'GET',
    path: '/api/logs',
    meaning:
      "leasehold's own log, what `serve --log-level info` writes: the last 500 lines about services and the last 500 about requests, each with its `level` and a sentence in `text`. `?servers=1` adds the last lines of every server, which have a `stream` instead of a `level`; `?follow=1` continues as NDJSON.",
  },
  {
    method: 'GET',
    path: '/api/logs/{id}',
    meaning:
      'The last output of a service; `?follow=1` continues as NDJSON. A line has its plain `text`; colours of a terminal are in `styles`, as `[from, to, "red bold"]`.',
  },
  {
    method: 'GET',
    path: '/api/events',
    meaning:
      'Every event as it happens, as server-sent events; resumes after `Last-Event-ID`. `?last=N` begins with the last N, `?follow=0` ends after them, `?types=service.,lease.refused` selects types, `?requestsPerSecond=N` limits the new requests that are shown, and shows only the last of many changes between idle and in use.',
  },
  {
    method: 'GET',
    path: '/api/requests',
    meaning:
      'The requests under way, the oldest first; `?ended=N` adds the last N that ended (500 are kept), the newest first, each with its client, outcome, timings, tokens and rewrites. Never a prompt or an answer.',
  },
  {
    method: 'GET',
    path: '/api/requests/{id}/bodies',
    meaning:
      'What a request sent and what its client got, of the last 50: method, path, status, headers and bodies. A header that holds a credential by its name (`authorization`, `cookie`, `x-api-key`) is `***`. 404 unless `leasehold.captureBodies` is on.',
  },
  {
    method: 'GET',
    path: '/api/timeline',
    meaning:
      'The last 15 minutes: the changes of state of every service, the decisions that took room, and how much of each budget was held.',
  },
  {
    method: 'GET',
    path: '/api/hardware',
    meaning:
      'The host and its GPUs: load of the processor and of each of its threads, memory, swap, network; of each GPU memory, utilisation, temperature, power and fan, as `nvidia-smi`, `rocm-smi` or (on macOS) `ioreg` tells. `samples` has one for every 5 s in which the hardware was looked at, of the last hour: a look is a request of this path, and counts for 20 s. `?after=MS` leaves out older samples. `null`: unknown.',
  },
  {
    method: 'DELETE',
    path: '/api/requests/{id}',
    meaning: 'Ends one as if its client had left; the client gets an error.',
  },
  {
    method: 'GET',
    path: '/api/inspect',
    meaning:
      'Events and states of the machines, as server-sent events in the wire format of `@statelyai/inspect`.',
  },
]
