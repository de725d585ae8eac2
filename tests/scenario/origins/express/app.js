// A usual Express application: express.static with its ETag and Last-Modified, and a route with Express's automatic ETag.
// Usage: node app.js DIRECTORY; prints the port it listens on. Finds express through NODE_PATH.
const fs = require('node:fs')
const path = require('node:path')
const express = require('express')

const directory = process.argv[2]
const app = express()

app.get('/api/page', (request, response) => {
  response.set('Cache-Control', 'max-age=3')
  response.json({ text: fs.readFileSync(path.join(directory, 'page.txt'), 'utf8') })
})
app.use(express.static(directory, { maxAge: '3s' }))

const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
