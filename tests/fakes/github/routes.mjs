// What each operation of GitHub's API does to the state: the ones that tars asks, and those by which a person acts
// (reviews, comments, labels). `need`: the role in the repository and what a fine-grained token or an app must hold.

import { paged } from '../core/server.mjs';
import { Refusal } from '../core/state.mjs';
import * as shapes from './shapes.mjs';

const REPOSITORY = '/repos/{owner}/{repo}';
const ID = /^[0-9a-f]{40}$/;
const STATES = ['error', 'failure', 'pending', 'success'];
const REACTIONS = ['+1', '-1', 'laugh', 'confused', 'heart', 'hooray', 'rocket', 'eyes'];
const EVENTS = { APPROVE: 'approved', REQUEST_CHANGES: 'changes_requested', COMMENT: 'commented' };

export const routes = [];

function route(method, path, need, run, resource) {
  const template = path.startsWith('!') ? path.slice(1) : REPOSITORY + path;
  routes.push({ method, template, need, run, resource });
}

const needs = (role, ...grant) => ({ role, grant });
const READ = needs('read', ['metadata', 'read']);
const PULLS_READ = needs('read', ['pull_requests', 'read']);
const PULLS_WRITE = needs('read', ['pull_requests', 'write']);
const ok = (body) => ({ status: 200, body });
const made = (body) => ({ status: 201, body });

// --- who, and the app's own door

route('GET', '!/user', { user: true }, ({ who }) => ok({ ...shapes.user(who.user), public_repos: 0 }));

route('GET', '!/app', { jwt: true }, ({ who: { app } }) => ok({
  id: app.id, slug: app.slug, name: app.slug, owner: shapes.user(app.user), permissions: app.permissions, events: [],
  html_url: `https://example.com/apps/${app.slug}`, external_url: 'https://example.com/',
}));

function installation({ who: { app }, params }) {
  if (app.installation !== Number(params.installation_id)) throw new Refusal('missing', 'Not Found');
  return app;
}

route('GET', '!/app/installations/{installation_id}', { jwt: true }, (context) => {
  const app = installation(context);
  return ok({
    id: app.installation, app_id: app.id, app_slug: app.slug, account: shapes.user(context.state.user(app.owner)),
    permissions: app.permissions, repository_selection: 'all', target_type: 'Organization', events: [],
  });
});

route('POST', '!/app/installations/{installation_id}/access_tokens', { jwt: true }, (context) => {
  const app = installation(context);
  const only = context.body.repositories ?? null;
  const exists = (name) => context.state.repositories.has(`${app.owner}/${name}`.toLowerCase());
  if (only && !only.every(exists)) throw new Refusal('invalid', 'There is at least one repository that does not exist or is not accessible to the parent installation.');
  const grants = { ...app.permissions, ...context.body.permissions };
  const { token, expires_ms } = context.state.addToken({
    login: app.user.login, kind: 'installation', grants, lifetime_s: app.lifetime_s, app, only, prefix: 'ghs_',
  });
  return made({ token, expires_at: new Date(expires_ms).toISOString().replace(/\.\d+Z$/, 'Z'), permissions: grants, repository_selection: 'all' });
});

// --- the repository and its branches

route('GET', '', READ, (context) => ok(shapes.repository(context, context.repository)));

function headOf({ state, repository, params }, name = params.branch) {
  const sha = state.git.head(repository.key, name);
  if (!sha) throw new Refusal('missing', 'Branch not found');
  return sha;
}

route('GET', '/branches/{branch}', needs('read', ['contents', 'read']), (context) =>
  ok(shapes.branch(context, context.params.branch, headOf(context))));

route('GET', '/branches/{branch}/protection', needs('admin', ['administration', 'read']), (context) => {
  headOf(context);
  const all = context.state.rulesOf(context.repository, context.params.branch);
  const rule = all.find((it) => it.origin !== 'ruleset');
  if (!rule) throw new Refusal('missing', 'Branch not protected');
  return ok(shapes.protection(context, rule));
});

route('GET', '/rules/branches/{branch}', READ, (context) => {
  const all = context.state.rulesOf(context.repository, context.params.branch).filter((it) => it.origin === 'ruleset');
  return paged(context, all.flatMap((it) => shapes.rules(context.repository, it)));
});

const branchOf = ({ params }) => params.ref.replace(/^heads\//, '');

route('GET', '/git/ref/{ref}', needs('read', ['contents', 'read']), (context) => {
  const sha = context.state.git.head(context.repository.key, branchOf(context));
  if (!sha) throw new Refusal('missing', 'Not Found');
  const url = `${context.server.url}/api/v3/repos/${context.repository.key}/git/refs/${context.params.ref}`;
  return ok({ ref: `refs/${context.params.ref}`, url, object: { type: 'commit', sha, url } });
});

route('DELETE', '/git/refs/{ref}', needs('write', ['contents', 'write']), (context) => {
  const { state, repository, who } = context;
  const name = branchOf(context);
  const sha = state.git.head(repository.key, name);
  if (!sha) throw new Refusal('invalid', 'Reference does not exist');
  if (name === repository.main || state.rulesOf(repository, name).some((it) => !state.bypasses(repository, who, it))) {
    throw new Refusal('invalid', 'Cannot delete this protected branch');
  }
  state.git.move(repository.key, name, null, sha);
  state.settle(repository, who);
  return { status: 204 };
}, 'Reference');

// --- pull requests

route('GET', '/pulls', PULLS_READ, (context) => {
  const { state, repository, query } = context;
  state.settle(repository);
  const wanted = query.get('state') ?? 'open';
  const head = query.get('head');
  const found = repository.pulls.filter((it) => (wanted === 'all' || it.state === wanted)
    && (!query.has('base') || it.base === query.get('base'))
    // Without an owner the filter is ignored, as GitHub does.
    && (!head?.includes(':') || `${it.fork ?? repository.owner}:${it.head}` === head));
  const isUp = query.get('direction') === 'asc';
  const sorted = [...found].sort((a, b) => (isUp ? a.number - b.number : b.number - a.number));
  return paged(context, sorted, (it) => shapes.pullSimple(context, it));
});

route('POST', '/pulls', PULLS_WRITE, (context) => {
  const { state, repository, who, body } = context;
  if (!repository.pulls_enabled) throw new Refusal('missing', 'Not Found');
  if (!state.may(repository, who, 'write')) throw new Refusal('forbidden', 'Resource not accessible');
  const missing = ['title', 'head', 'base'].find((it) => !body[it]);
  if (missing) throw new Refusal('invalid', 'Validation Failed', { field: missing });
  const head = body.head.replace(`${repository.owner}:`, '');
  const pull = state.addPull(repository, who, { ...body, head, body: body.body ?? '' });
  return made(shapes.pull(context, pull));
});

const pullOf = ({ state, repository, params }) => state.pull(repository, params.pull_number ?? params.issue_number);

route('GET', '/pulls/{pull_number}', PULLS_READ, (context) => ok(shapes.pull(context, pullOf(context))));

function mayEdit({ state, repository, who }, author) {
  if (author !== who.user.login && !state.may(repository, who, 'write')) throw new Refusal('forbidden', 'Must have push access');
}

route('PATCH', '/pulls/{pull_number}', PULLS_WRITE, (context) => {
  const pull = pullOf(context);
  mayEdit(context, pull.author);
  context.state.edit(context.repository, pull, context.who, context.body);
  return ok(shapes.pull(context, pull));
});

route('PUT', '/pulls/{pull_number}/merge', needs('write', ['contents', 'write'], ['pull_requests', 'write']), (context) => {
  const { state, repository, who, body } = context;
  const sha = state.merge(repository, pullOf(context), who, {
    method: body.merge_method ?? 'merge', sha: body.sha, title: body.commit_title, message: body.commit_message,
  });
  return ok({ sha, merged: true, message: 'Pull Request successfully merged' });
});

route('POST', '/pulls/{pull_number}/requested_reviewers', needs('write', ['pull_requests', 'write']), (context) => {
  const { state, repository, body } = context;
  const pull = pullOf(context);
  const asked = body.reviewers ?? [];
  if (asked.includes(pull.author)) throw new Refusal('invalid', 'Review cannot be requested from pull request author.');
  const known = (login) => state.users.has(login.toLowerCase()) && state.may(repository, { user: state.user(login) }, 'read');
  if (!asked.every(known)) {
    throw new Refusal('invalid', 'Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator');
  }
  pull.reviewers = [...new Set([...pull.reviewers, ...asked])];
  return made(shapes.pullSimple(context, pull));
});

route('GET', '/pulls/{pull_number}/requested_reviewers', PULLS_READ, (context) =>
  ok({ users: pullOf(context).reviewers.map((it) => shapes.user(context.state.user(it))), teams: [] }));

route('GET', '/pulls/{pull_number}/reviews', PULLS_READ, (context) => {
  const { number } = pullOf(context);
  return paged(context, context.repository.reviews.filter((it) => it.number === number), (it) => shapes.review(context, it));
});

route('POST', '/pulls/{pull_number}/reviews', PULLS_WRITE, (context) => {
  const { body, state, repository, who } = context;
  const said = EVENTS[body.event];
  if (!said) throw new Refusal('invalid', 'a review without an event is a draft, which the stand-in does not keep');
  if (said !== 'approved' && !body.body) throw new Refusal('invalid', 'Validation Failed', { field: 'body' });
  const review = state.addReview(repository, pullOf(context), who, { state: said, body: body.body, sha: body.commit_id });
  return ok(shapes.review(context, review));
});

// --- comments, labels, reactions

const ISSUES_READ = needs('read', ['pull_requests', 'read']);
const ISSUES_WRITE = needs('read', ['pull_requests', 'write']);

route('PATCH', '/issues/{issue_number}', ISSUES_WRITE, (context) => {
  const pull = pullOf(context);
  mayEdit(context, pull.author);
  const { title, body, state } = context.body;
  context.state.edit(context.repository, pull, context.who, { title, body, state });
  return ok(shapes.issue(context, pull));
}, 'Issue');

route('GET', '/issues/{issue_number}', ISSUES_READ, (context) => ok(shapes.issue(context, pullOf(context))));

route('GET', '/issues/{issue_number}/comments', ISSUES_READ, (context) => {
  const { number } = pullOf(context);
  return paged(context, context.repository.comments.filter((it) => it.number === number), (it) => shapes.comment(context, it));
});

route('POST', '/issues/{issue_number}/comments', ISSUES_WRITE, (context) => {
  const { number } = pullOf(context);
  const text = context.body.body;
  if (text.length > 65_536) throw new Refusal('invalid', 'Body is too long (maximum is 65536 characters)');
  return made(shapes.comment(context, context.state.addComment(context.repository, number, context.who, text)));
}, 'IssueComment');

function commentOf({ repository, params }) {
  const found = repository.comments.find((it) => it.id === Number(params.comment_id));
  if (!found) throw new Refusal('missing', 'Not Found');
  return found;
}

route('PATCH', '/issues/comments/{comment_id}', ISSUES_WRITE, (context) => {
  const comment = commentOf(context);
  mayEdit(context, comment.by);
  Object.assign(comment, { body: context.body.body, updated: context.state.stamp() });
  return ok(shapes.comment(context, comment));
});

route('POST', '/issues/comments/{comment_id}/reactions', ISSUES_WRITE, (context) => {
  const { repository, who, body, state } = context;
  const comment = commentOf(context);
  if (!REACTIONS.includes(body.content)) throw new Refusal('invalid', 'Validation Failed', { field: 'content' });
  const is = (it) => it.comment === comment.id && it.by === who.user.login && it.content === body.content;
  const old = repository.reactions.find(is);
  const reaction = old ?? { id: state.id(), comment: comment.id, by: who.user.login, content: body.content, at: state.stamp() };
  if (!old) repository.reactions.push(reaction);
  const shown = { id: reaction.id, node_id: 'R', user: shapes.user(who.user), content: reaction.content, created_at: reaction.at };
  return { status: old ? 200 : 201, body: shown };
}, 'Reaction');

route('GET', '/issues/comments/{comment_id}/reactions', ISSUES_READ, (context) => {
  const comment = commentOf(context);
  const shape = (it) => ({ id: it.id, node_id: 'R', user: shapes.user(context.state.user(it.by)), content: it.content, created_at: it.at });
  return paged(context, context.repository.reactions.filter((it) => it.comment === comment.id), shape);
});

const LABELS_WRITE = needs('triage', ['pull_requests', 'write']);
const namesOf = (body) => (body.labels ?? []).map((it) => (typeof it === 'string' ? it : it.name));

function setLabels(context, pull, names) {
  const spelled = names.map((it) => context.state.label(context.repository, it).name);
  pull.labels = [...new Set(spelled)];
  return ok(shapes.labels(context.repository, pull.labels));
}

route('GET', '/issues/{issue_number}/labels', ISSUES_READ, (context) =>
  paged(context, shapes.labels(context.repository, pullOf(context).labels)));
route('PUT', '/issues/{issue_number}/labels', LABELS_WRITE, (context) =>
  setLabels(context, pullOf(context), namesOf(context.body)), 'Label');
route('POST', '/issues/{issue_number}/labels', LABELS_WRITE, (context) => {
  const pull = pullOf(context);
  return setLabels(context, pull, [...pull.labels, ...namesOf(context.body)]);
}, 'Label');
route('DELETE', '/issues/{issue_number}/labels/{name}', LABELS_WRITE, (context) => {
  const pull = pullOf(context);
  const other = pull.labels.filter((it) => it.toLowerCase() !== context.params.name.toLowerCase());
  if (other.length === pull.labels.length) throw new Refusal('missing', 'Label does not exist');
  return setLabels(context, pull, other);
}, 'Label');

// --- statuses and checks

function commitOf({ state, repository, params }, text = params.ref) {
  const sha = state.git.commit(repository.key, text);
  if (!sha) throw new Refusal('invalid', `No commit found for SHA: ${text}`);
  return sha;
}

route('POST', '/statuses/{sha}', needs('write', ['statuses', 'write']), (context) => {
  const { state, repository, who, params, body } = context;
  if (!ID.test(params.sha)) throw new Refusal('invalid', 'sha must be a full commit id');
  if (!STATES.includes(body.state)) throw new Refusal('invalid', 'Validation Failed', { field: 'state' });
  if ((body.description ?? '').length > 140) throw new Refusal('invalid', 'description is too long (maximum is 140 characters)');
  const sha = commitOf(context, params.sha);
  const status = state.addStatus(repository, who, { ...body, context: body.context, sha, url: body.target_url || null });
  return made(shapes.status(context, status));
}, 'Status');

route('GET', '/commits/{ref}/statuses', needs('read', ['statuses', 'read']), (context) => {
  const sha = commitOf(context);
  const all = context.repository.statuses.filter((it) => it.sha === sha).reverse();
  return paged(context, all, (it) => shapes.status(context, it));
});

route('GET', '/commits/{ref}/check-runs', needs('read', ['checks', 'read']), (context) => {
  const { state, repository, query } = context;
  const sha = commitOf(context);
  const isAll = query.get('filter') === 'all';
  const all = isAll ? repository.runs.filter((it) => it.sha === sha).reverse() : state.latestRuns(repository, sha);
  const page = paged(context, all, shapes.run);
  return { ...page, body: { total_count: all.length, check_runs: page.body } };
});

// --- people

route('GET', '/collaborators/{username}/permission', READ, (context) => {
  const { state, repository, params } = context;
  const user = state.user(params.username);
  const role_name = state.role(repository, { user });
  const permission = { maintain: 'write', triage: 'read' }[role_name] ?? role_name;
  return ok({ permission, role_name, user: { ...shapes.user(user), role_name } });
});
