// The stand-in as an HTTP server: git, the forge's API, control endpoints, faults, and a journal of what was asked.
//
// In: a forge (see ../main.mjs for its shape) and its contract. Out: answers that the contract has accepted. The first
// request or answer that disagrees with the vendor's description is a violation: it is answered with 500, listed at
// `GET /_fake/violations`, and ends the process with 1. Every body, list and journal is bounded.

import { createHash } from 'node:crypto';
import http from 'node:http';

import { control } from './control.mjs';
import { Faults } from './faults.mjs';
import { Refusal, State } from './state.mjs';
import { Git } from './git.mjs';

const BODY_BYTES_MAX = 4 << 20;
const JOURNAL_MAX = 10_000;
const VIOLATIONS_MAX = 100;
const PER_PAGE_DEFAULT = 30;
const PER_PAGE_MAX = 100;

export class Server {
  constructor(forge, contract, folder) {
    this.forge = forge;
    this.contract = contract;
    this.state = new State(new Git(folder), forge);
    this.faults = new Faults();
    this.violations = [];
    this.journal = [];
    this.reads = new Map();
    this.routes = forge.routes.map((it) => ({ ...it, segments: it.template.split('/').slice(1) }));
    this.http = http.createServer((request, response) => {
      this.handle(request, response).catch((error) => {
        this.violation(`${request.method} ${request.url}`, `the stand-in failed: ${error.stack}`);
        if (!response.headersSent) response.writeHead(500);
        response.end();
      });
    });
  }

  async listen(port) {
    await new Promise((done) => this.http.listen(port, '127.0.0.1', done));
    this.url = `http://127.0.0.1:${this.http.address().port}`;
    return this.url;
  }

  violation(where, why) {
    if (this.violations.length < VIOLATIONS_MAX) this.violations.push({ where, why });
  }

  async handle(request, response) {
    const url = new URL(request.url, this.url);
    response.setHeader('date', this.state.now().toUTCString());
    if (url.pathname.startsWith('/_fake/')) return this.control(request, response, url);
    const git = /^\/(.+)\/([^/]+?)(?:\.git)?(\/info\/refs|\/git-(?:upload|receive)-pack|\/HEAD|\/objects\/.*)$/.exec(url.pathname);
    if (git) return this.git(request, response, url, git.slice(1));
    const below = this.forge.below(url.pathname);
    if (below !== null) return this.api(request, response, url, below);
    response.writeHead(404, { 'content-type': 'text/html' });
    response.end('<html>Not Found</html>');
  }

  async control(request, response, url) {
    const text = await bodyOf(request);
    const [status, body] = await control(this, request.method, url.pathname.slice('/_fake/'.length), text ? JSON.parse(text) : {});
    answer(response, { status, body });
  }

  git(request, response, url, [owner, name, service]) {
    const refused = (status) => {
      response.writeHead(status, { 'www-authenticate': 'Basic realm="git"' });
      response.end();
    };
    const fault = this.faults.meet(request.method, url.pathname);
    if (fault?.kind === 'status') return refused(fault.status);
    let who;
    let repository;
    try {
      who = this.state.identity(passwordOf(request.headers.authorization));
      repository = this.state.repository(owner, name, who);
    } catch {
      return refused(who ? 404 : 401);
    }
    const isWrite = service.includes('receive-pack') || url.searchParams.get('service') === 'git-receive-pack';
    if (isWrite) {
      if (!who) return refused(401);
      const granted = !who.grants || who.grants.contents === 'write';
      if (repository.archived || !granted || !this.state.may(repository, who, 'write')) return refused(403);
      this.state.writeRules(repository);
    }
    const bypass = repository.protection.length > 0
      && repository.protection.every((it) => this.state.bypasses(repository, who, it));
    this.state.git.serve(request, response, {
      pathInfo: `/${repository.key}.git${service}`,
      query: url.search.slice(1),
      login: who?.user.login,
      bypass,
      done: () => isWrite && this.state.settle(repository, who),
    });
  }

  async api(request, response, url, below) {
    const where = `${request.method} ${url.pathname}${url.search}`;
    const text = await bodyOf(request);
    const fault = this.faults.meet(request.method, url.pathname);
    if (fault?.kind === 'slow') await new Promise((done) => setTimeout(done, fault.delay_ms ?? 1000));
    let found;
    if (fault?.kind === 'status') {
      const body = fault.body ?? this.forge.words(fault.status, fault.message ?? 'a fault that was asked for');
      found = { status: fault.status, headers: fault.headers, body: fault.body === null ? undefined : body };
    } else if (fault?.kind === 'stale' && this.reads.has(where)) {
      found = this.reads.get(where);
    } else {
      found = this.done({ request, url, below, text, where });
      if (request.method === 'GET' && fault?.kind !== 'stale') this.remember(where, found);
    }
    // Broken answers are whole ones that are broken on their way.
    if (!['status', 'cut', 'garbage'].includes(fault?.kind)) found = this.metered(conditional(request, found));
    const login = found.login ?? null;
    if (this.journal.length < JOURNAL_MAX) {
      const remaining = found.headers?.['x-ratelimit-remaining'];
      this.journal.push({ method: request.method, path: url.pathname, query: url.search, status: found.status, login, remaining, fault: fault?.kind });
    }
    if (fault?.kind === 'lost') return request.socket.destroy();
    if (fault?.kind === 'garbage') return answer(response, { status: found.status, raw: '<html>\u001b[31mhello' });
    answer(response, found, fault?.kind === 'cut' ? request.socket : null);
  }

  // With what the answer costs whoever asked, where the forge says so.
  metered(found) {
    return { ...found, headers: { ...found.headers, ...this.forge.meter?.(this.state, found) } };
  }

  remember(where, found) {
    if (this.reads.size >= JOURNAL_MAX) this.reads.clear();
    this.reads.set(where, found);
  }

  // One request against the contract, the state, and the contract again.
  done({ request, url, below, text, where }) {
    const segments = below.split('/').slice(1);
    const wrong = (why) => {
      this.violation(where, why);
      return { status: 500, body: this.forge.words(500, `this is not the vendor's API: ${why}`) };
    };
    const operation = this.contract?.operation(request.method, segments);
    if (this.contract && !operation) return wrong('there is no such operation');
    let body;
    try {
      body = text ? JSON.parse(text) : undefined;
    } catch {
      return wrong('the body is no JSON');
    }
    const bad = operation && this.contract.request(operation, { query: url.searchParams, body, hasBody: Boolean(text) });
    if (bad) return wrong(`request: ${bad}`);
    const route = this.routes.find((it) => it.method === request.method && fits(it.segments, segments));
    if (!route) return wrong('the stand-in does not do this yet');
    const context = {
      state: this.state, server: this, url, route, query: url.searchParams, body: body ?? {},
      headers: request.headers,
      params: Object.fromEntries(route.segments.flatMap((it, i) => it.startsWith('{') ? [[it.slice(1, -1), decodeURIComponent(segments[i])]] : [])),
    };
    const found = this.answered(context);
    if (operation) {
      found.body = this.contract.completed(operation, found.status, found.body);
      const odd = this.contract.response(operation, found.status, found.body);
      if (odd) return wrong(`answer ${found.status}: ${odd}`);
    }
    return { ...found, headers: { ...this.forge.headers?.(context), ...found.headers }, login: context.who?.user.login };
  }

  answered(context) {
    try {
      context.who = this.forge.identify(this.state, context);
      this.forge.admit(context);
      return context.route.run(context);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return this.forge.refusal(error, context);
    }
  }
}

// Templates and paths agree where the template has words.
const fits = (template, segments) =>
  template.length === segments.length && template.every((it, i) => it.startsWith('{') || it === segments[i]);

// A read as both big forges answer it: with a weak tag of what it holds, or with 304 and nothing when that is known. What
// else a 304 says is about the moment: `Link` stays out.
function conditional(request, found) {
  if (request.method !== 'GET' || found.status !== 200) return found;
  const etag = `W/"${createHash('sha256').update(JSON.stringify(found.body)).digest('hex')}"`;
  const known = (request.headers['if-none-match'] ?? '').split(',').map((it) => it.trim());
  if (!known.includes(etag)) return { ...found, headers: { ...found.headers, etag } };
  const { link, ...headers } = found.headers ?? {};
  return { ...found, status: 304, body: undefined, headers: { ...headers, etag } };
}

// A page of a list, with the `Link` header by which both big forges name the others.
export function paged({ query, url }, items, shape = (it) => it) {
  const per = Math.min(Number(query.get('per_page') ?? PER_PAGE_DEFAULT), PER_PAGE_MAX) || PER_PAGE_DEFAULT;
  const page = Math.max(Number(query.get('page') ?? 1), 1);
  const last = Math.max(Math.ceil(items.length / per), 1);
  const named = [['prev', page - 1], ['next', page + 1], ['last', last], ['first', 1]]
    .filter(([rel, at]) => at >= 1 && at <= last && !(rel === 'last' && page >= last) && !(rel === 'first' && page === 1));
  const links = named.map(([rel, at]) => {
    const to = new URL(url);
    to.searchParams.set('page', at);
    return `<${to}>; rel="${rel}"`;
  });
  const body = items.slice((page - 1) * per, page * per).map(shape);
  return { status: 200, body, headers: last > 1 ? { link: links.join(', ') } : {} };
}

function answer(response, { status, body, headers = {}, raw }, cut = null) {
  const text = raw ?? (body === undefined ? '' : JSON.stringify(body));
  const kind = raw ? 'text/html' : 'application/json; charset=utf-8';
  response.writeHead(status, { ...(text && { 'content-type': kind }), ...headers, ...(![204, 304].includes(status) && { 'content-length': Buffer.byteLength(text) }) });
  if (!cut) return void response.end(text);
  response.write(text.slice(0, Math.floor(text.length / 2)), () => cut.destroy());
}

async function bodyOf(request) {
  const pieces = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > BODY_BYTES_MAX) throw new Error('the body is too large');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

// The password of Basic, whatever the user name; both forges take a token there.
function passwordOf(header) {
  const [, encoded] = /^basic (.+)$/i.exec(header ?? '') ?? [];
  return encoded ? Buffer.from(encoded, 'base64').toString().split(/:(.*)/s)[1] : null;
}
