// The peer: express-session with its MemoryStore behind a real HTTP server. It reads lines of JSON, [what, argument], and
// answers each with one: {"value": ...}. What a handler does to its session is a list of operations, see scenario.py. At
// "during" the answer is {"during": request}, and the handler goes on at ["go", time].
//
// Run with the peers' folder as the working directory.
'use strict'

// The clock stands still until it is moved. Node's own modules keep the real one, for timeouts and the like.
const RealDate = Date
let now = 0
globalThis.Date = class Date extends RealDate {
  constructor(...given) {
    super(...(given.length === 0 ? [now] : given))
  }
  static now() {
    return now
  }
}

const http = require('node:http')
const peers = require('node:module').createRequire(process.cwd() + '/')
const session = peers('express-session')

const agent = new http.Agent({ keepAlive: true, maxSockets: 16 })
const jobs = new Map() // requests under way
let jobCount = 0
let world

const later = () => new Promise(resolve => setImmediate(resolve))

// -- a world: middlewares on one store ------------------------------------------------------------------------------------

function cookieOptions(given) {
  if (given === undefined || given === null) return undefined
  const { function: answered, ...options } = given
  if (answered !== undefined) {
    return () => {
      world.asked += 1
      return cookieOptions(answered)
    }
  }
  for (const name of ['expires', 'maxAge']) {
    if (isObject(options[name])) options[name] = new Date(options[name].date)
  }
  return options
}

function idGenerator(given) {
  if (!Array.isArray(given)) return given
  return request => {
    world.asked += request instanceof http.IncomingMessage ? 1 : 0
    return given.length > 1 ? given.shift() : given[0]
  }
}

function make({ apps, planted, at, touchless }) {
  now = at
  const store = new session.MemoryStore()
  for (const { id, text } of planted) store.sessions[id] = text
  world = { store, faults: [], asked: 0, calls: [] }
  for (const name of ['get', 'set', 'destroy', 'touch']) {
    const real = store[name]
    store[name] = (id, ...rest) => {
      world.calls.push(name)
      const callback = rest.at(-1)
      if (!world.faults.includes(name)) return real.call(store, id, ...rest)
      setImmediate(() => callback?.(new Error('the store is down')))
    }
  }
  if (touchless) store.touch = undefined
  world.apps = apps.map(({ cookie, genid, secretBytes, ...options }) =>
    session({
      ...options,
      ...(cookie === undefined ? {} : { cookie: cookieOptions(cookie) }),
      ...(genid === undefined ? {} : { genid: idGenerator(genid) }),
      ...(secretBytes === undefined ? {} : { secret: Buffer.from(secretBytes) }),
      store,
    }),
  )
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return {} // it was planted so
  }
}

function stored() {
  const all = world.store.sessions
  return Object.keys(all)
    .map(id => [id, parsed(all[id])])
    .filter(([, record]) => !record.cookie?.expires || !(new Date(record.cookie.expires) <= now))
}

// -- what a handler does --------------------------------------------------------------------------------------------------

const isObject = value => typeof value === 'object' && value !== null && !Array.isArray(value)
const copy = value => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)))

function holder(root, path) {
  for (const key of path.slice(0, -1)) {
    if (!isObject(root) || !Object.hasOwn(root, key)) return undefined
    root = root[key]
  }
  return isObject(root) ? root : undefined
}

const COOKIE = ['originalMaxAge', 'httpOnly', 'path', 'secure', 'sameSite', 'domain', 'priority', 'partitioned']

function look(job, held) {
  const { cookie, ...data } = held
  return {
    id: held.id,
    same: held.id === job.req.sessionID,
    keys: Object.keys(data),
    data: copy(data),
    cookie: Object.fromEntries(COOKIE.map(name => [name, cookie[name] ?? null])),
  }
}

const SPECIAL = {
  bigint: () => 10n,
  date: () => new Date(now),
  bytes: () => Buffer.from('x'),
  undefined: () => undefined,
  function: () => () => {},
}

// Of a session.
const SESSION = {
  read: (job, held) => look(job, held),
  set(job, held, path, value) {
    const place = holder(held, path)
    if (place) place[path.at(-1)] = copy(value)
  },
  special(job, held, key, kind) {
    held[key] = SPECIAL[kind]()
  },
  delete(job, held, path) {
    const place = holder(held, path)
    if (place) delete place[path.at(-1)]
  },
  append(job, held, path, value) {
    const place = holder(held, path)
    if (!place) return
    if (!Object.hasOwn(place, path.at(-1))) place[path.at(-1)] = []
    if (Array.isArray(place[path.at(-1)])) place[path.at(-1)].push(copy(value))
  },
  increment(job, held, key, by) {
    const before = Object.hasOwn(held, key) ? held[key] : 0
    if (typeof before === 'number') held[key] = before + by
  },
  cookie(job, held, name, value) {
    try {
      held.cookie[name] = isObject(value) ? new Date(value.date ?? NaN) : value
    } catch {
      return 'refused'
    }
  },
  assignId: (job, held) => (Reflect.set(held, 'id', 'mine') ? 'set' : undefined), // as outside of strict mode
  keys(job, held) {
    const through = []
    for (const key in held) through.push(key)
    return { keys: Object.keys(held).sort(), through: through.sort() }
  },
  touch: (job, held) => (held.touch() === held ? undefined : 'not itself'),
  save: (job, held) => new Promise(resolve => held.save(error => resolve(error ? 'error' : 'ok'))),
  saveAndGoOn(job, held) {
    held.save()
  },
  reload: (job, held, times = 1) =>
    new Promise(resolve => {
      const again = error => {
        times -= 1
        if (times > 0) job.req.session.reload(again)
        else resolve(error ? 'missing' : 'ok')
      }
      held.reload(again)
    }),
  regenerate: (job, held) => new Promise(resolve => held.regenerate(error => resolve(error ? 'error' : undefined))),
  destroy: (job, held) => new Promise(resolve => held.destroy(error => resolve(error ? 'error' : undefined))),
  replace(job, held, data) {
    job.req.session = copy(data)
    job.replaced = true
  },
  remaining: (job, held) => ({ maxAge: held.cookie.maxAge, expires: held.cookie.expires?.valueOf() ?? null }),
  hold(job, held) {
    job.held = held
  },
  same: (job, held) => held === job.held,
}
// Of the request and its response.
const REQUEST = {
  unset(job, how) {
    if (how === 'delete') delete job.req.session
    else job.req.session = how === 'undefined' ? undefined : null
  },
  held: (job, name, ...given) => SESSION[name](job, job.held, ...given),
  write(job, text) {
    job.res.write(text)
  },
  status(job, status) {
    if (!job.res.headersSent) job.res.statusCode = status
  },
  ownCookie(job, text) {
    if (!job.res.headersSent) job.res.appendHeader('Set-Cookie', text)
  },
  writeHead(job, status, cookies) {
    job.res.writeHead(status, { 'Set-Cookie': cookies })
  },
  advance(job, ms) {
    now += ms
  },
  faults(job, ...names) {
    world.faults = names
  },
  store: () => stored(),
  fetch: (job, id) =>
    new Promise(resolve =>
      job.req.sessionStore.load(id ?? job.req.sessionID, (error, found) =>
        resolve(error ? 'error' : found ? { data: look(job, found).data } : 'missing'),
      ),
    ),
  during: (job, request) =>
    new Promise(resolve => {
      reply({ value: { during: request, now } })
      paused.push(resolve)
    }),
}
const paused = []

async function handle(job) {
  const { req, res } = job
  job.handled = true
  if (job.declared !== null) res.setHeader('Content-Length', job.declared)
  for (const [name, ...given] of job.ops) {
    const held = job.replaced ? null : req.session
    const act = SESSION[name]
    if (act && !held) job.seen.push('no session')
    else {
      const seen = await (act ? act(job, held, ...given) : REQUEST[name](job, ...given))
      if (seen !== undefined && seen !== null) job.seen.push(seen)
    }
  }
  if (job.body === null) res.end()
  else res.end(job.body)
}

// -- requests -------------------------------------------------------------------------------------------------------------

const server = http.createServer({ keepAliveTimeout: 600_000 }, (req, res) => {
  const job = jobs.get(req.headers['x-job'])
  Object.assign(job, { req, res })
  req.socket.encrypted = job.connection === 'tls' // as a TLSSocket has it
  if (job.connection !== 'http') req.secure = true // as Express says of such a request
  if (job.originalUrl !== null) req.originalUrl = job.originalUrl
  if (job.url !== null) req.url = job.url
  if (job.session !== null) req.session = job.session
  Object.assign(req, job.parsed)
  const middlewares = job.middlewares.map(index => world.apps[index])
  const next = error => {
    if (error) {
      job.errors += 1
      if (!job.handled) {
        // What the app's own error handler would do.
        try {
          res.statusCode = 503
          res.end()
        } catch (error) {
          job.failed = String(error) // the session that it met was half made
          res.destroy()
        }
        job.done()
      }
      return
    }
    const following = middlewares.shift()
    if (following) following(req, res, next)
    else
      handle(job)
        .catch(error => {
          job.failed = String(error)
          res.destroy()
        })
        .finally(job.done)
  }
  try {
    next()
  } catch (error) {
    next(error) // as Express does
  }
})

async function ask(given) {
  const key = String((jobCount += 1))
  const job = { seen: [], errors: 0, ...given }
  const began = world.calls.length
  now = given.at
  world.faults = given.faults ?? []
  if (given.down) world.store.emit('disconnect')
  jobs.set(key, job)
  const handled = new Promise(resolve => (job.done = resolve))
  const received = new Promise(resolve => {
    const { port } = server.address()
    const request = http.request({ port, agent, method: given.method, path: given.path, headers: { ...given.headers, 'x-job': key } })
    request.on('error', () => resolve({ status: 0 }))
    request.on('response', response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', chunk => (body += chunk))
      response.on('error', () => resolve({ status: 0 }))
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }))
    })
    request.end()
  })
  const response = await received
  await handled
  await later()
  await later()
  jobs.delete(key)
  if (given.down) world.store.emit('connect')
  return {
    now,
    handled: job.handled === true,
    failed: job.failed,
    errors: job.errors,
    seen: job.seen,
    calls: world.calls.slice(began),
    asked: world.asked,
    stored: stored(),
    ...response,
  }
}

const WORK = {
  version: () => peers('express-session/package.json').version,
  make,
  // What the package shows, and what its Cookie makes of its argument.
  shows: () => Object.keys(session).sort(),
  cookie(given) {
    const { data } = new session.Cookie(given === 'function' ? () => {} : given)
    return data
  },
}

const reply = message => process.stdout.write(JSON.stringify(message) + '\n')

server.listen(0, '127.0.0.1', () => {
  const lines = require('node:readline').createInterface({ input: process.stdin })
  lines.on('close', () => process.exit())
  lines.on('line', line => {
    const [what, given] = JSON.parse(line)
    if (what === 'go') {
      now = given
      paused.pop()()
      return
    }
    if (what === 'ask') {
      ask(given).then(value => reply({ value }))
      return
    }
    try {
      reply({ value: WORK[what](given) ?? null })
    } catch (error) {
      reply({ value: { refused: String(error) } })
    }
  })
})
