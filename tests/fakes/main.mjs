// A stand-in forge for tests: `node tests/fakes/main.mjs github|gitlab --parts <folder with node_modules>`.
//
// It listens on a free loopback port, prints one line of JSON ({"url", "admin_token"}), and ends when its standard
// input ends: with 0, or with 1 when anything disagreed with the vendor's own description. Repositories are real bare
// git repositories in a temporary folder that goes with it. What tests may say to it is in core/control.mjs.
//
// How to add a forge: a folder beside github/ whose index.mjs exports an object, named in FORGES below, with
//   name            as on the command line
//   contract(parts) -> a Contract made of the vendor's description, or null where none can be had; `parts.load(file)`
//                      reads JSON out of node_modules, `parts.need(package)` requires a package
//   below(pathname) -> the path of the API with its leading slash, still encoded, or null when it is none of the API
//   identify(state, {headers}) -> who speaks (State.identity), null for nobody; a Refusal for a bad token
//   admit(context)  -> looks at context.route.need, finds context.repository; a Refusal when it may not be
//   routes          [{method, template: '/repos/{owner}/{repo}', need, run(context) -> {status, body, headers}}]
//   refusal(error, context) -> the same for a Refusal: each forge says no in its own way
//   words(status, message) -> the body of an error
//   tokenOf(body)   -> what State.addToken takes, from POST tokens
//   headers(context) -> of every answer (optional); meter(state, {status, login}) -> headers about what it cost (optional);
//   settingsOf(body): of POST and PATCH repositories (optional)
//   settings: names of its own settings of a repository; extra(repository): with their first values (optional)
//   control(what, {state, repository, body}) -> [status, body] of its own control endpoints, or null (optional)
// The rules that all forges share (merges, protection, checks, reviews, what a push does) are in core/state.mjs: use
// them, and say in the forge's own folder only what is its own. Lists go through `paged` of core/server.mjs.

import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';

import { Server } from './core/server.mjs';

const FORGES = { github: './github/index.mjs', gitlab: './gitlab/index.mjs' };
const ADMIN = 'keeper';

function partsIn(folder) {
  const need = createRequire(path.join(path.resolve(folder), 'here.js'));
  const load = (file) => JSON.parse(fs.readFileSync(path.join(folder, 'node_modules', file), 'utf8'));
  return { need, load };
}

const [name, ...rest] = process.argv.slice(2);
const option = (key, otherwise) => (rest.includes(key) ? rest[rest.indexOf(key) + 1] : otherwise);
if (!FORGES[name]) {
  console.error(`usage: main.mjs ${Object.keys(FORGES).join('|')} --parts FOLDER [--port PORT]`);
  process.exit(2);
}
const { default: forge } = await import(FORGES[name]);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), `fake-${name}-`));
process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(3));

const server = new Server(forge, forge.contract(partsIn(option('--parts', '.'))), folder);
const url = await server.listen(Number(option('--port', 0)));
server.state.addUser({ login: ADMIN, admin: true });
const { token } = server.state.addToken(forge.tokenOf({ login: ADMIN }));
console.log(JSON.stringify({ url, admin_token: token }));

process.stdin.resume();
process.stdin.on('end', () => {
  for (const it of server.violations) console.error(`VIOLATION ${it.where}: ${it.why}`);
  process.exit(server.violations.length > 0 ? 1 : 0);
});
