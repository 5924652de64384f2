// The Express side: the shelf, login and logout, and the profile. `python run.py` starts both sides.
'use strict'

const path = require('node:path')
const express = require('express')
const session = require('express-session')
const { RedisStore } = require('connect-redis')
const { createClient } = require('redis')
const products = require('./products.json')

const { EXPRESS_PORT = 3000, REDIS_URL, SESSION_SECRET, BEHIND_PROXY } = process.env
const PYTHON_URL = process.env.PYTHON_URL ?? '' // empty where a proxy puts both sides under one address

const redis = createClient({ url: REDIS_URL })
redis.on('error', (error) => console.error(error.message))

const app = express()
app.get('/style.css', (req, res) => res.sendFile(path.join(__dirname, 'style.css')))
app.use(express.urlencoded({ extended: false }))

// Whatever changes something is a POST. SameSite=Lax keeps the cookie out of the forms of other sites; this refuses them, as
// an answer without it could still put another cookie, such as that of somebody else's login, in its place.
app.use((req, res, next) => {
  if (req.method !== 'POST' || req.get('Sec-Fetch-Site') !== 'cross-site') return next()
  res.status(403).send('This form came from another site.')
})

if (BEHIND_PROXY) app.set('trust proxy', 1) // what one proxy says of https is true
app.use(session({
  secret: SESSION_SECRET,
  store: new RedisStore({ client: redis }),
  cookie: { secure: 'auto', sameSite: 'lax' },
  resave: false,
  saveUninitialized: false,
}))

// Both sides agree on what is in a session: `user` is a name, `cart` counts products, and `_flashes` holds messages as
// Sojourn keeps them: pairs of a category and a text.
function flash(req, message) {
  const kept = req.session._flashes ??= []
  kept.push(['info', message])
}

function flashes(req) {
  const kept = req.session._flashes ?? []
  delete req.session._flashes
  return kept
}

const escape = (text) => String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

function page(req, title, body) {
  const { user, cart = {} } = req.session
  const items = Object.values(cart).reduce((sum, count) => sum + count, 0)
  const messages = flashes(req).map(([, message]) => `<p class="flash" role="status">${escape(message)}</p>`)
  const who = user
    ? `<strong id="user">${escape(user)}</strong>
       <form method="post" action="/logout"><button class="quiet" id="logout">Log out</button></form>`
    : ''
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)} · Half-way outfitters</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
<header>
  <a class="brand" href="/">Half-way outfitters</a>
  <nav><a href="/">Shelf</a> <a href="${PYTHON_URL}/cart">Cart <span id="items">${items}</span></a> <a href="/profile">Profile</a></nav>
  <div class="who">${who}</div>
</header>
<main>${messages.join('')}${body}</main>
<footer><span class="side express" id="side">Express</span> Node.js made this page; the session is in Redis.</footer>
</html>`
}

const login = `
<form method="post" action="/login" class="card">
  <h2>Log in</h2>
  <div class="row"><input name="name" aria-label="Your name" placeholder="Your name" maxlength="60" autocomplete="username" required>
  <button id="login">Log in</button></div>
  <p class="soft">Express checks who you are. Python will know you, too.</p>
</form>`

app.get('/', (req, res) => {
  const shelf = Object.entries(products).map(([key, { name, price }]) => `
    <div class="row"><span>${escape(name)} <span class="soft">€${price}</span></span>
    <form method="post" action="${PYTHON_URL}/cart/add/${key}"><button id="add-${key}">Add</button></form></div>`)
  res.send(page(req, 'Shelf', `
    <h1>One login, two languages</h1>
    <p class="lead">This page comes from Express, your cart from FastAPI. Both read and write the same session.</p>
    <div class="grid"><section class="card"><h2>On the shelf</h2>${shelf.join('')}</section>${req.session.user ? '' : login}</div>`))
})

app.get('/profile', (req, res) => {
  if (!req.session.user) return res.redirect(303, '/')
  res.send(page(req, 'Profile', `
    <h1>Hello, ${escape(req.session.user)}</h1>
    <p class="lead">Only you can see this page.</p>
    <section class="card"><h2>Served by Express</h2><p>The Python side has this page as well. Behind the proxy, one line of its
    configuration decides who serves it; you stay logged in whoever does.</p></section>`))
})

app.post('/login', (req, res, next) => {
  const user = String(req.body?.name ?? '').trim().slice(0, 60)
  if (!user) return res.redirect(303, '/')
  const { cart } = req.session
  req.session.regenerate((error) => { // a new id whenever privileges change
    if (error) return next(error)
    Object.assign(req.session, { user, cart })
    flash(req, `Welcome, ${user}. Express logged you in.`)
    // The cart is another process: it must find what is saved here, so the redirect waits.
    req.session.save((error) => error ? next(error) : res.redirect(303, `${PYTHON_URL}/cart`))
  })
})

app.post('/logout', (req, res, next) => {
  req.session.destroy((error) => {
    if (error) return next(error)
    res.clearCookie('connect.sid') // Express would leave it
    res.redirect(303, '/')
  })
})

redis.connect().then(() => app.listen(EXPRESS_PORT, '127.0.0.1'))
