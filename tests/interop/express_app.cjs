// An Express server for the tests. Each line of JSON on stdin describes a site; the reply is the port that it listens on.
'use strict'

const { createRequire } = require('node:module')
const path = require('node:path')
const readline = require('node:readline')
const { isDeepStrictEqual, promisify } = require('node:util')

const peer = createRequire(path.join(__dirname, '../node/package.json'))
const express = peer('express')
const session = peer('express-session')

// One client for all the sites of a server.
const clients = new Map()
const client = (url, make) => {
  if (!clients.has(url)) clients.set(url, make(url))
  return clients.get(url)
}
const redis = (url) => client(url, () => peer('redis').createClient({ url }).connect())
const postgres = (url) => client(url, () => new (peer('pg').Pool)({ connectionString: url, max: 4 }))
const mongodb = (url) => client(url, () => peer('mongodb').MongoClient.connect(url))

const STORES = {
  'connect-redis': async (url, options) =>
    new (peer('connect-redis').RedisStore)({ client: await redis(url), ...options }),
  'connect-pg-simple': async (url, options) =>
    new (peer('connect-pg-simple')(session))({
      pool: postgres(url), createTableIfMissing: true, pruneSessionInterval: false, ...options,
    }),
  'connect-mongo': async (url, options) => {
    const store = peer('connect-mongo').MongoStore.create({ client: await mongodb(url), ...options })
    await store.collectionP
    return store
  },
  'connect-mongodb-session': async (uri, options) => {
    const store = new (peer('connect-mongodb-session')(session))({ uri, ...options })
    await store.initialConnectionPromise
    return store
  },
}

// What a request may ask for, in its body: a list of operations with their arguments.

const at = (tree, steps) => steps.reduce((value, step) => value[step], tree)
const parent = (req, steps) => at(req.session, steps.slice(0, -1))
const evaluate = (source) => Function(`return (${source})`)()
const waitFor = (object, method, ...args) => promisify(object[method].bind(object))(...args)

const OPERATIONS = {
  look(req) {
    if (!req.session) return null
    const { cookie, ...data } = req.session
    return { id: req.sessionID, data, cookie }
  },
  set(req, steps, value) { parent(req, steps)[steps.at(-1)] = value },
  js(req, steps, source) { parent(req, steps)[steps.at(-1)] = evaluate(source) },
  is_js: (req, steps, source) => isDeepStrictEqual(at(req.session, steps), evaluate(source)),
  delete(req, steps) { delete parent(req, steps)[steps.at(-1)] },
  append(req, steps, value) { at(req.session, steps).push(value) },
  same: (req, steps, value) => isDeepStrictEqual(at(req.session, steps), value),
  keys(req) {
    const iterated = []
    for (const key in req.session) iterated.push(key)
    return { keys: Object.keys(req.session), iterated, json: Object.keys(JSON.parse(JSON.stringify(req.session))) }
  },
  // What `prop in this` is true of, when a session is made anew.
  dropped(req) {
    const names = new Set()
    for (let object = req.session; object; object = Object.getPrototypeOf(object)) {
      for (const name of Object.getOwnPropertyNames(object)) names.add(name)
    }
    return [...names]
  },
  cookie(req, changes) { Object.assign(req.session.cookie, changes) },
  touch(req) { req.session.touch() },
  save: (req) => waitFor(req.session, 'save'),
  reload: (req) => waitFor(req.session, 'reload'),
  regenerate: (req) => waitFor(req.session, 'regenerate'),
  destroy: (req) => waitFor(req.session, 'destroy'),
  unset(req) { req.session = null },
  login: (req, id, options = {}) => waitFor(req, 'login', { id }, options),
  logout: (req, options = {}) => waitFor(req, 'logout', options),
  who: (req) => ({ authenticated: req.isAuthenticated(), user: req.user?.id ?? null }),
  flash: (req, ...args) => req.flash(...args),
  store: (req, method, ...args) => waitFor(req.sessionStore, method, ...args),
  async meanwhile(req, url, operations) {
    const headers = { cookie: req.headers.cookie }
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(operations) })
    if (!response.ok) throw new Error(`meanwhile: ${await response.text()}`)
    return response.json()
  },
}

async function perform(req, res) {
  const answers = []
  for (const [name, ...args] of req.body) {
    // As text at once: what comes later may change it.
    answers.push(JSON.stringify(await OPERATIONS[name](req, ...args)) ?? 'null')
  }
  res.type('json').send(`[${answers.join()}]`)
}

// Users are what has an id, and all ids are users' but for those that are struck off.
function passport() {
  const { Passport } = peer('passport')
  const made = new Passport()
  made.serializeUser((user, done) => done(null, user.id))
  made.deserializeUser((id, done) => done(null, id === 'struck off' ? false : { id }))
  return made.session()
}

function flash() {
  require('node:util').isArray ??= Array.isArray // which Node.js 23 dropped, and connect-flash calls
  return peer('connect-flash')()
}

async function open({ store: [name, url, storeOptions], session: sessionOptions, ids, passport: hasPassport, flash: hasFlash }) {
  const store = await STORES[name](url, storeOptions)
  const app = express()
  app.use(express.json({ type: () => true, limit: '4mb' }))
  app.use(session({
    resave: false, saveUninitialized: false, store, ...(ids && { genid: () => ids.shift() }), ...sessionOptions,
  }))
  if (hasPassport) app.use(passport())
  if (hasFlash) app.use(flash())
  app.post('/{*path}', perform)
  app.use((error, req, res, next) => {
    if (res.headersSent) console.error(error) // of the save at the end: it comes too late to be answered
    else res.status(500).json({ error: error.name, message: error.message })
  })
  return new Promise((resolve, reject) => {
    const server = app.listen(0, '127.0.0.1', (error) => error ? reject(error) : resolve(server.address().port))
  })
}

const input = readline.createInterface({ input: process.stdin })
input.on('line', async (line) => {
  let reply
  try {
    reply = { value: await open(...JSON.parse(line)) }
  } catch (error) {
    reply = { error: String(error.stack) }
  }
  console.log(JSON.stringify(reply))
})
input.on('close', () => process.exit())
