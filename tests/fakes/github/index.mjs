// GitHub (and GitHub Enterprise Server): how it knows who speaks, what each of them may do, how it says no.
//
// In: requests that the core has held against GitHub's description. Out: what ../main.mjs asks of a forge. The rules of
// pull requests are in ../core/state.mjs; the JSON is in shapes.mjs, what each operation does in routes.mjs.

import { createVerify } from 'node:crypto';

import { Contract } from '../core/contract.mjs';
import { Refusal } from '../core/state.mjs';
import { routes } from './routes.mjs';

// Most seconds between now and the end of an app's own token.
const JWT_LIFETIME_S_MAX = 600;
const DOCS = 'https://docs.github.com/rest';
const STATUS = { unauthenticated: 401, forbidden: 403, missing: 404, invalid: 422, exists: 422, moved: 409, notReady: 405 };
// The most that github.com gives to anybody.
const REQUESTS_PER_HOUR = 15_000;
const LEVELS = ['read', 'write'];

// GitHub gives these for every operation and describes them in "Troubleshooting the REST API".
function contract(parts) {
  const schema = (name) => ({ $ref: `#/components/schemas/${name}` });
  const error = schema('basic-error');
  const invalid = { anyOf: [schema('validation-error'), schema('validation-error-simple')] };
  const generic = { 401: error, 403: error, 404: error, 422: invalid, 429: error, 500: error, 502: error, 503: error };
  return new Contract(parts.load('@octokit/openapi/generated/api.github.com.json'), {
    ajv: parts.need('ajv'), formats: parts.need('ajv-formats'), generic,
  });
}

// github.com answers at the root of another host, Enterprise below /api/v3: this stands in for the latter.
const below = (pathname) => (pathname.startsWith('/api/v3/') ? pathname.slice('/api/v3'.length) : null);

const words = (status, message, more = {}) => ({ message, documentation_url: DOCS, status: String(status), ...more });

function identify(state, { headers }) {
  if (!headers['user-agent']) throw new Refusal('forbidden', 'Request forbidden by administrative rules. Please make sure your request has a User-Agent header');
  const header = headers.authorization ?? '';
  if (!header) return null;
  const [, token] = /^(?:token|bearer) (\S+)$/i.exec(header) ?? [];
  if (!token) throw new Refusal('unauthenticated', 'Bad credentials');
  return token.split('.').length === 3 ? appOf(state, token) : state.identity(token);
}

// An app that speaks for itself, with a token that it has signed.
function appOf(state, token) {
  const [head, claims, signature] = token.split('.');
  const read = (it) => JSON.parse(Buffer.from(it, 'base64url').toString());
  const refused = (why) => new Refusal('unauthenticated', why);
  const { iss, iat, exp } = read(claims);
  const app = state.apps.get(Number(iss));
  if (!app || read(head).alg !== 'RS256') throw refused('Integration not found');
  if (!createVerify('RSA-SHA256').update(`${head}.${claims}`).verify(app.public_key, signature, 'base64url')) {
    throw refused('A JSON web token could not be decoded');
  }
  const now_s = state.now().getTime() / 1000;
  if (!(iat <= now_s + 5)) throw refused("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued.");
  if (!(exp > now_s) || exp > now_s + JWT_LIFETIME_S_MAX + 5) throw refused("'Expiration time' claim ('exp') is too far in the future");
  return { app, jwt: true, user: app.user };
}

function admit(context) {
  const { state, who, route: { need } } = context;
  if (need.jwt) {
    if (!who?.jwt) throw new Refusal('unauthenticated', 'A JSON web token could not be decoded');
    return;
  }
  if (who?.jwt) throw new Refusal('unauthenticated', 'Bad credentials');
  if (need.user) {
    if (!who) throw new Refusal('unauthenticated', 'Requires authentication');
    if (who.app) throw new Refusal('forbidden', 'Resource not accessible by integration');
    return;
  }
  const { owner, repo } = context.params;
  context.repository = state.repository(owner, repo, who);
  const isRead = need.role === 'read';
  if (!isRead && !who) throw new Refusal('unauthenticated', 'Requires authentication');
  scoped(context, need.grant);
  if (!isRead && context.repository.archived) throw new Refusal('forbidden', 'Repository was archived so is read-only.');
  if (!state.may(context.repository, who, need.role)) {
    throw new Refusal('forbidden', need.role === 'admin' ? 'Must have admin rights to Repository.' : 'Must have push access to repository');
  }
}

// What the token itself allows, whoever holds it. `grant`: all of them, as [area, level].
function scoped({ who, repository }, grant) {
  if (!who) return;
  if (who.kind === 'classic') {
    const scopes = who.scopes ?? ['repo'];
    const isEnough = scopes.includes('repo') || (!repository.private && scopes.includes('public_repo'));
    if (!isEnough && (repository.private || grant.some(([, level]) => level === 'write'))) throw new Refusal('missing', 'Not Found');
    return;
  }
  const holds = ([area, level]) => area === 'metadata' || LEVELS.indexOf(who.grants?.[area]) >= LEVELS.indexOf(level);
  if (!grant.every(holds)) throw new Refusal('forbidden', `Resource not accessible by ${who.app ? 'integration' : 'personal access token'}`);
}

function refusal({ kind, message, details }, { route }) {
  const status = STATUS[kind];
  if (status !== 422) return { status, body: words(status, message) };
  const resource = route.resource ?? 'PullRequest';
  const error = details.field ? { resource, field: details.field, code: 'invalid' } : { resource, code: 'custom', message };
  return { status, body: { message: 'Validation Failed', errors: [error], documentation_url: DOCS } };
}

const headers = ({ who }) => ({
  'x-github-media-type': 'github.v3; format=json',
  'x-github-api-version-selected': '2022-11-28',
  ...(who?.kind === 'classic' && { 'x-oauth-scopes': (who.scopes ?? ['repo']).join(', ') }),
});

// "Best practices for using the REST API": a conditional request that is answered with 304 does not count.
function meter(state, { status, login }) {
  const who = login ?? '';
  const used = (state.spent.get(who) ?? 0) + (status === 304 && login ? 0 : 1);
  state.spent.set(who, used);
  return {
    'x-ratelimit-limit': String(REQUESTS_PER_HOUR),
    'x-ratelimit-remaining': String(Math.max(REQUESTS_PER_HOUR - used, 0)),
    'x-ratelimit-reset': String(Math.floor(state.now().getTime() / 1000) + 3600),
  };
}

// POST tokens: kind classic (scopes) or fine (grants: area -> read|write).
const tokenOf = ({ login, kind = 'classic', scopes = ['repo'], grants = {}, lifetime_s = null }) =>
  kind === 'classic'
    ? { login, kind, scopes, lifetime_s, prefix: 'ghp_' }
    : { login, kind, grants, lifetime_s, prefix: 'github_pat_' };

export default { name: 'github', contract, below, identify, admit, routes, refusal, words, headers, meter, tokenOf };
