// What `in-process` measures of express-session: `node express.cjs`, run in the folder of the peers. See express.py.
// Reads {secret, data, columns, rounds, slice, atOnce, redis}; prints, for each column, microseconds of CPU per request of each round,
// of the handler alone and of the handler with sessions.
'use strict'

const http = require('node:http')
const { readFileSync } = require('node:fs')
const { isDeepStrictEqual } = require('node:util')
const peers = require('node:module').createRequire(process.cwd() + '/')

const asked = JSON.parse(readFileSync(0, 'utf8'))

const actions = {
  a: session => session.user.id,
  b: session => { session.n += 1 },
  c: null,
  d: null
}

const handler = action => (req, res) => {
  if (action !== null) action(req.session)
  res.setHeader('Content-Type', 'text/plain')
  res.setHeader('Content-Length', '2')
  res.end('ok')
}

const withSessions = (sessions, app) => (req, res) => sessions(req, res, error => {
  if (error) throw error
  app(req, res)
})

// One request, without a socket. Resolves to the response when it has ended.
const call = (app, headers) => new Promise(resolve => {
  const req = new http.IncomingMessage(null)
  req.method = 'GET'
  req.url = '/'
  req.headers = headers
  const res = new http.ServerResponse(req)
  const end = res.end
  res.end = (...given) => {
    end.apply(res, given)
    resolve(res)
  }
  app(req, res)
})

async function lane (work, calls) {
  for (; calls > 0; calls--) await call(work.app, work.headers)
}

// Microseconds of CPU of so many requests on each lane.
async function time (work, calls) {
  const before = process.cpuUsage()
  await Promise.all(Array.from({ length: asked.atOnce }, () => lane(work, calls)))
  const { user, system } = process.cpuUsage(before)
  return user + system
}

// Warm it, and find how many requests on each lane fill a slice.
async function slice (work) {
  const wanted = asked.slice * 1e6
  let calls = 1
  let taken = await time(work, calls)
  while (taken < wanted / 2) {
    calls *= 2
    taken = await time(work, calls)
  }
  return Math.max(1, Math.round(calls * wanted / taken))
}

async function interleaved (works) {
  const calls = []
  for (const work of works) calls.push(await slice(work))
  const rounds = works.map(() => [])
  for (let round = 0; round < asked.rounds; round++) {
    for (const [index, work] of works.entries()) {
      rounds[index].push(await time(work, calls[index]) / calls[index] / asked.atOnce)
    }
  }
  return rounds
}

// The headers of a browser that has a session of this data.
async function visitor (sessions, data) {
  const app = handler(session => Object.assign(session, data))
  const res = await call(withSessions(sessions, app), {})
  const cookie = res.getHeader('Set-Cookie')[0].split(';')[0]
  const headers = { cookie: `consent=yes; ${cookie}; tz=Europe%2FBerlin` }
  const found = handler(session => {
    if (!isDeepStrictEqual({ ...session, cookie: null }, { ...data, cookie: null })) throw new Error('the session is lost')
  })
  await call(withSessions(sessions, found), headers)
  return headers
}

async function connectRedis (url) {
  const { RedisStore } = peers('connect-redis')
  const client = peers('redis').createClient({ url })
  await client.connect()
  return new RedisStore({ client })
}

async function main () {
  const store = asked.redis === null ? undefined : await connectRedis(asked.redis) // else express-session makes a MemoryStore
  const sessions = peers('express-session')({ secret: asked.secret, store, resave: false, saveUninitialized: false })
  const headers = {}
  for (const [size, data] of Object.entries(asked.data)) headers[size] = await visitor(sessions, data)
  const columns = asked.columns.map(([action, size]) => [
    { app: handler(null), headers: action === 'c' ? {} : headers[size] },
    { app: withSessions(sessions, handler(actions[action])), headers: action === 'c' ? {} : headers[size] }
  ])
  for (const works of columns) for (const work of works) await slice(work)
  const results = []
  for (const works of columns) results.push(await interleaved(works))
  process.stdout.write(JSON.stringify(results), () => process.exit()) // whatever is still connected
}

main().catch(error => {
  console.log(error.message.split('\n')[0])
  process.exit(1)
})
