// The Node package cookie-parser, and Express's res.cookie(). It reads lines of JSON, [what, ...], and answers each with one:
// {"value": ...} or {"error": text}.
//
// Run with the peers' folder as the working directory.
'use strict'

const peers = require('node:module').createRequire(process.cwd() + '/')
const cookieParser = peers('cookie-parser')
const express = peers('express')

const tasks = {
  read(header, secrets) {
    const req = { headers: { cookie: header } }
    cookieParser(secrets)(req, {}, () => {})
    return [{ ...req.cookies }, { ...req.signedCookies }]
  },
  write(value, secret, signed) {
    const headers = []
    const res = Object.create(express.response)
    res.req = { secret }
    res.append = (_name, text) => headers.push(text)
    res.cookie('name', value, { signed })
    return headers[0].slice('name='.length).split(';')[0]
  },
}

require('node:readline')
  .createInterface({ input: process.stdin })
  .on('line', line => {
    const [what, ...given] = JSON.parse(line)
    let reply
    try {
      reply = { value: tasks[what](...given) }
    } catch (error) {
      reply = { error: String(error) }
    }
    process.stdout.write(JSON.stringify(reply) + '\n')
  })
