// What `served` measures of Express: `node served_app.cjs NAME REDIS-URL DATA`, run in the folder of the peers. See served_app.py.
'use strict'

const peers = require('node:module').createRequire(process.cwd() + '/')

const SECRET = 'a secret for benchmarks, longer than 32 bytes'

const stores = {
  bare: null,
  memory: () => undefined, // express-session makes a MemoryStore
  redis: async url => {
    const { RedisStore } = peers('connect-redis')
    const client = peers('redis').createClient({ url })
    await client.connect()
    return new RedisStore({ client })
  }
}

async function main ([name, url, data]) {
  const app = peers('express')()
  const bare = stores[name] === null
  if (!bare) {
    const store = await stores[name](url)
    app.use(peers('express-session')({ secret: SECRET, store, resave: false, saveUninitialized: false }))
  }
  const does = {
    fill: session => Object.assign(session, JSON.parse(data)),
    read: session => session.user.id,
    count: session => { session.n += 1 },
    idle: null
  }
  for (const [path, action] of Object.entries(does)) {
    app.get(`/${path}`, (req, res) => {
      if (!bare && action !== null) action(req.session)
      res.set('Content-Type', 'text/plain; charset=utf-8').set('Content-Length', '2').end('ok')
    })
  }
  const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
  server.keepAliveTimeout = 0 // never
  process.stdin.on('end', () => process.exit()).resume()
}

main(process.argv.slice(2)).catch(error => {
  console.log(error.message.split('\n')[0])
  process.exit(1)
})
