// Prints the tests of an installed http-cache-tests as JSON: [{name, id, tests: [{id, kind, depends_on}]}].
// Usage: node list.mjs DIRECTORY_OF_HTTP_CACHE_TESTS
import { pathToFileURL } from 'node:url'
import path from 'node:path'

const load = async file => (await import(pathToFileURL(path.resolve(process.argv[2], 'tests', file)))).default
const suites = [...await load('index.mjs'), await load('surrogate-control.mjs')]

console.log(JSON.stringify(suites.map(suite => ({
  name: suite.name,
  id: suite.id,
  tests: suite.tests
    .filter(test => test.browser_only !== true)
    .map(test => ({ id: test.id, kind: test.kind || 'required', depends_on: test.depends_on || [] }))
}))))
