// GitLab (self-managed, free or with a licence): how it knows who speaks, what each of them may do, how it says no.
//
// In: requests that the core has held against description.mjs. Out: what ../main.mjs asks of a forge. The rules that all
// forges share are in ../core/state.mjs; pipelines.mjs has checks as GitLab has them, shapes.mjs the JSON, routes.mjs what
// each operation does. Where GitLab does something on its own time (looking whether a merge is possible), so does this.
//
// POST repositories and PATCH of one also take: edition ('free' or 'premium'), merge_method, squash_option,
// pipeline_must_succeed, threads_must_resolve. A protection rule takes {branch, pull (nobody may push), approvals,
// dismiss_stale, merge_level (30 Developers, 40 Maintainers)}.
// Beside what ../core/control.mjs lists: POST repositories/<group>/<name>/pipelines {login, sha, ref, source, jobs: [{name,
// status, allow_failure}]}, and PATCH .../pulls/<n> {unresolved}. A subgroup's `/` is written %2F in these paths.

import { Contract } from '../core/contract.mjs';
import { Refusal } from '../core/state.mjs';
import { description, error } from './description.mjs';
import { addPipeline } from './pipelines.mjs';
import { routes } from './routes.mjs';

const STATUS = { unauthenticated: 401, forbidden: 403, missing: 404, invalid: 400, exists: 409, moved: 409, notReady: 405 };
const ERRORS = [400, 401, 403, 404, 405, 406, 409, 422, 429, 500, 502, 503];
const SETTINGS = {
  edition: 'premium', merge_method: 'merge', squash_option: 'default_off', pipeline_must_succeed: false, threads_must_resolve: false,
};

function contract(parts) {
  const generic = Object.fromEntries(ERRORS.map((status) => [status, error]));
  return new Contract(description(), { ajv: parts.need('ajv'), formats: parts.need('ajv-formats'), generic });
}

const below = (pathname) => (pathname.startsWith('/api/v4/') ? pathname.slice('/api/v4'.length) : null);
const words = (status, message) => ({ message: `${status} ${message}` });

function identify(state, { headers }) {
  const [, bearer] = /^bearer (\S+)$/i.exec(headers.authorization ?? '') ?? [];
  const token = headers['private-token'] ?? bearer;
  if (headers.authorization && !token) throw new Refusal('unauthenticated', 'Unauthorized');
  return state.identity(token);
}

function admit(context) {
  const { state, who, params, route: { need, method } } = context;
  if (need.user && !who) throw new Refusal('unauthenticated', 'Unauthorized');
  const scopes = who?.scopes ?? [];
  const isRead = method === 'GET';
  const asked = isRead ? ['api', 'read_api', ...(need.self ? ['read_user'] : [])] : ['api'];
  if (who && !asked.some((it) => scopes.includes(it))) throw new Refusal('scope', asked.join(' '));
  if (params.id === undefined) return;
  const path = params.id.split('/');
  const found = [...state.repositories.values()].find((it) => String(it.id) === params.id);
  const [owner, name] = found ? [found.owner, found.name] : [path.slice(0, -1).join('/'), path.at(-1)];
  try {
    context.repository = state.repository(owner, name, who);
  } catch {
    throw new Refusal('missing', 'Project Not Found');
  }
  if (!isRead && !who) throw new Refusal('unauthenticated', 'Unauthorized');
  // Guests of a private project see that it is there, and no more.
  const least = context.repository.private && need.role === 'read' && !need.guest ? 'triage' : need.role;
  if (!state.may(context.repository, who, least)) throw new Refusal('forbidden', 'Forbidden');
  if (!isRead && context.repository.archived) throw new Refusal('forbidden', 'Forbidden');
}

function refusal({ kind, message, details }) {
  if (kind === 'scope') {
    const said = 'The request requires higher privileges than provided by the access token.';
    return { status: 403, body: { error: 'insufficient_scope', error_description: said, scope: message } };
  }
  const status = details.status ?? STATUS[kind];
  if (kind === 'exists') return { status, body: { message: ['Another open merge request already exists for this source branch'] } };
  if (kind === 'moved') return { status, body: { message: 'SHA does not match HEAD of source branch' } };
  if (kind === 'notReady') return { status, body: status === 405 ? words(405, 'Method Not Allowed') : { message: 'Branch cannot be merged' } };
  if (status === 400 && details.field) return { status, body: { message: { [details.field]: [message] } } };
  return { status, body: words(status, message) };
}

// POST tokens: scopes as a personal access token has them.
function tokenOf({ login, scopes = ['api'], lifetime_s = null }) {
  const contents = scopes.some((it) => ['api', 'write_repository'].includes(it)) ? 'write' : 'read';
  return { login, kind: 'personal', scopes, grants: { contents }, lifetime_s, prefix: 'glpat-' };
}

// Nobody stands above a rule that says "No one".
function settingsOf({ protection, ...settings }) {
  const rules = protection?.map((it) => ({ merge_level: 40, enforce_admins: true, ...it }));
  return { ...settings, ...(rules && { protection: rules }), methods: ['merge', 'fast-forward', 'squash', 'squash-merge'] };
}

const extra = (repository) => ({ ...SETTINGS, pipelines: [], ...repository });

function control(what, { state, repository, body }) {
  if (what !== 'POST pipelines') return null;
  const { id } = addPipeline(state, repository, state.user(body.login), body);
  return [201, { id }];
}

export default {
  name: 'gitlab', contract, below, identify, admit, routes, refusal, words, tokenOf, settingsOf, extra, control,
  settings: Object.keys(SETTINGS),
};
