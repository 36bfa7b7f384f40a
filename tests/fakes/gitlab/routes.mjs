// What each operation of GitLab's API does to the state: the ones that tars asks, and those by which a person acts
// (notes, labels, approvals). `need`: the role in the project; read is a guest, triage a reporter, write a developer.

import { paged } from '../core/server.mjs';
import { Refusal } from '../core/state.mjs';
import { latestJobs, postStatus } from './pipelines.mjs';
import * as shapes from './shapes.mjs';

const PROJECT = '/projects/{id}';
const PULL = `${PROJECT}/merge_requests/{iid}`;
const ID = /^[0-9a-f]{40}$/;
const DRAFT = /^(?:draft:|\[draft\]|\(draft\))\s*/i;
const ACTIONS = /^\/(merge|close|reopen|approve|label|unlabel|title|draft|ready|target_branch|assign|request_review|lock|rebase)(?: [^\n]*)?(?:\n|$)/gim;
const EMOJI = ['eyes', 'thumbsup', 'thumbsdown', 'tada', 'heart'];

export const routes = [];

function route(method, template, need, run) {
  routes.push({ method, template, need, run });
}

const READ = { role: 'read' };
const WRITE = { role: 'write' };
const ok = (body) => ({ status: 200, body });
const made = (body) => ({ status: 201, body });
const stamp = (state) => state.now().toISOString();

// Lines that GitLab carries out and takes out of a text.
function acted(context, pull, text) {
  const { repository, state, who } = context;
  return text.replaceAll('\r', '').replace(ACTIONS, (line, action) => {
    (repository.actions ??= []).push(line.trim());
    if (pull && action.toLowerCase() === 'close') state.edit(repository, pull, who, { state: 'closed' });
    return '';
  }).trimEnd();
}

function told({ state, repository, who }, pull, body) {
  const at = stamp(state);
  Object.assign(state.addComment(repository, pull.number, who, body), { system: true, created: at, updated: at });
}

// --- people and the project

route('GET', '/user', { user: true, self: true }, (context) => ok(shapes.self(context, context.who.user)));

route('GET', '/users', { user: true }, (context) => {
  const { state, query } = context;
  const named = (it) => it.kind === 'User' && (!query.has('username') || it.login.toLowerCase() === query.get('username').toLowerCase());
  return paged(context, [...state.users.values()].filter(named), (it) => shapes.user(context, it));
});

route('GET', PROJECT, { ...READ, guest: true }, (context) => ok(shapes.project(context, context.repository)));

route('GET', `${PROJECT}/members/all/{user_id}`, { ...READ, guest: true }, (context) => {
  const { state, repository, params } = context;
  const found = [...state.users.values()].find((it) => it.id === Number(params.user_id));
  if (!found || !repository.members.has(found.login)) throw new Refusal('missing', 'Not found');
  return ok(shapes.member(context, repository, found));
});

// --- branches and what protects them

route('GET', `${PROJECT}/repository/branches/{branch}`, READ, (context) => {
  const { state, repository, params } = context;
  const sha = state.git.head(repository.key, params.branch);
  if (!sha) throw new Refusal('missing', 'Branch Not Found');
  return ok(shapes.branch(context, params.branch, sha));
});

route('GET', `${PROJECT}/protected_branches/{name}`, { role: 'maintain' }, (context) => {
  const rule = context.repository.protection.find((it) => it.branch === context.params.name);
  if (!rule) throw new Refusal('missing', 'Not found');
  return ok(shapes.protectedBranch(context, rule));
});

function licensed({ repository }) {
  if (repository.edition === 'free') throw new Refusal('missing', 'Not Found');
}

route('GET', `${PROJECT}/approval_rules`, READ, (context) => {
  licensed(context);
  return paged(context, context.repository.protection.filter((it) => it.approvals), (it) => shapes.approvalRule(context, it));
});

route('GET', `${PROJECT}/approvals`, READ, (context) => {
  licensed(context);
  const resets = context.repository.protection.some((it) => it.dismiss_stale);
  return ok({
    approvals_before_merge: 0, reset_approvals_on_push: resets, disable_overriding_approvers_per_merge_request: false,
    merge_requests_author_approval: false, merge_requests_disable_committers_approval: false,
  });
});

// --- merge requests

function pullOf({ state, repository, params }) {
  if (!repository.pulls_enabled) throw new Refusal('forbidden', 'Forbidden');
  return state.pull(repository, params.iid);
}

route('GET', `${PROJECT}/merge_requests`, READ, (context) => {
  const { state, repository, query } = context;
  state.settle(repository);
  const word = (it) => (it.merged ? 'merged' : { open: 'opened', closed: 'closed' }[it.state]);
  const wanted = query.get('state') ?? 'all';
  const found = repository.pulls.filter((it) => (wanted === 'all' || word(it) === wanted)
    && (!query.has('source_branch') || it.head === query.get('source_branch'))
    && (!query.has('target_branch') || it.base === query.get('target_branch')));
  const isUp = query.get('sort') === 'asc';
  const sorted = [...found].sort((a, b) => (isUp ? a.number - b.number : b.number - a.number));
  return paged(context, sorted, (it) => shapes.mergeRequest(context, it));
});

route('POST', `${PROJECT}/merge_requests`, WRITE, (context) => {
  const { state, repository, who, body } = context;
  if (!repository.pulls_enabled) throw new Refusal('forbidden', 'Forbidden');
  const { source_branch: head, target_branch: base, title } = body;
  const pull = state.addPull(repository, who, { head, base, title, body: acted(context, null, body.description ?? ''), draft: DRAFT.test(title) });
  pull.squash = body.squash ?? repository.squash_option === 'default_on';
  setLabels(context, pull, body);
  return made(shapes.mergeRequestWhole(context, pull));
});

route('GET', PULL, READ, (context) => ok(shapes.mergeRequestWhole(context, pullOf(context))));

const namesIn = (given) => [given ?? []].flat().flatMap((it) => it.split(',')).map((it) => it.trim()).filter(Boolean);

function setLabels({ state, repository }, pull, body) {
  const spelled = (given) => namesIn(given).map((it) => state.label(repository, it).name);
  if (body.labels !== undefined) pull.labels = [...new Set(spelled(body.labels))];
  pull.labels = [...new Set([...pull.labels, ...spelled(body.add_labels)])].filter((it) => !namesIn(body.remove_labels).includes(it));
}

function setReviewers({ state, repository }, pull, ids) {
  const found = ids.map((id) => [...state.users.values()].find((it) => it.id === id));
  // Those who may not see it, and without a licence all but the first, are dropped without a word.
  const eligible = found.filter((it) => it && state.may(repository, { user: it }, 'read')).map((it) => it.login);
  pull.reviewers = [...new Set(eligible)].slice(0, repository.edition === 'free' ? 1 : undefined);
}

route('PUT', PULL, { role: 'read' }, (context) => {
  const { state, repository, who, body } = context;
  const pull = pullOf(context);
  if (Object.keys(body).length === 0) throw new Refusal('refused', 'at least one parameter must be provided', { status: 400 });
  if (pull.author !== who.user.login && !state.may(repository, who, 'write')) throw new Refusal('forbidden', 'Forbidden');
  const text = body.description === undefined ? undefined : acted(context, pull, body.description);
  // Closing what is closed changes nothing; a merged one stays merged.
  const events = { close: 'closed', reopen: 'open' };
  const wanted = pull.merged ? undefined : events[body.state_event];
  if (wanted && wanted !== pull.state) told(context, pull, wanted === 'closed' ? 'closed' : 'reopened');
  state.edit(repository, pull, who, { title: body.title, body: text, state: wanted, base: body.target_branch });
  if (body.title !== undefined) pull.draft = DRAFT.test(body.title);
  if (body.squash !== undefined) pull.squash = body.squash;
  setLabels(context, pull, body);
  if (body.reviewer_ids) setReviewers(context, pull, body.reviewer_ids);
  return ok(shapes.mergeRequestWhole(context, pull));
});

// In GitLab's order: rights, rules, conflicts, the head; and a no to squashing is not heard.
route('PUT', `${PULL}/merge`, READ, (context) => {
  const { state, repository, who, body } = context;
  const pull = pullOf(context);
  if (!shapes.mayMerge(state, repository, who, pull.base)) throw new Refusal('unauthenticated', 'Unauthorized');
  if (body.auto_merge || body.merge_when_pipeline_succeeds) throw new Refusal('notReady', 'the stand-in does not merge later');
  const [status] = shapes.obstacle(context, pull) ?? [];
  if (status) throw new Refusal('notReady', 'it cannot be merged', { status });
  if (body.sha && body.sha !== pull.headSha) throw new Refusal('moved', 'the head moved');
  if (body.squash) pull.squash = true;
  const squashes = shapes.squashes(repository, pull);
  const method = shapes.mergesBy(repository, squashes);
  const words = (squashes && method === 'squash' ? body.squash_commit_message : body.merge_commit_message) ?? `Merge branch '${pull.head}' into '${pull.base}'`;
  const [title, ...message] = words.split('\n\n');
  try {
    state.merge(repository, pull, who, { method, sha: body.sha, title, message: message.join('\n\n') });
  } catch (error) {
    if (error instanceof Refusal && error.kind === 'notReady') throw new Refusal('notReady', error.message, { status: 422 });
    throw error;
  }
  pull.merged.method = method;
  return ok(shapes.mergeRequestWhole(context, pull));
});

route('GET', `${PULL}/versions`, READ, (context) => {
  const pull = pullOf(context);
  return paged(context, pull.versions, (it) => shapes.version(pull)(it, pull.versions.indexOf(it)));
});

// --- approvals and reviewers

route('GET', `${PULL}/approvals`, READ, (context) => ok(shapes.approvals(context, pullOf(context))));

route('POST', `${PULL}/approve`, WRITE, (context) => {
  const { state, repository, who, body } = context;
  const pull = pullOf(context);
  if (body.sha && body.sha !== pull.headSha) throw new Refusal('moved', 'the head moved');
  const again = state.opinions(repository, pull).some((it) => it.by === who.user.login && it.state === 'approved');
  if (pull.author === who.user.login || again) throw new Refusal('unauthenticated', 'Unauthorized');
  const asked = pull.reviewers;
  state.addReview(repository, pull, who, { state: 'approved' }).at = stamp(state);
  pull.reviewers = asked;
  told(context, pull, 'approved this merge request');
  return made(shapes.approvals(context, pull));
});

route('POST', `${PULL}/unapprove`, WRITE, (context) => {
  const { state, repository, who } = context;
  const pull = pullOf(context);
  const mine = state.opinions(repository, pull).find((it) => it.by === who.user.login && it.state === 'approved');
  if (!mine) throw new Refusal('missing', 'Not Found');
  mine.state = 'dismissed';
  told(context, pull, 'unapproved this merge request');
  return made(shapes.approvals(context, pull));
});

route('GET', `${PULL}/reviewers`, READ, (context) => {
  const pull = pullOf(context);
  return ok(pull.reviewers.map((it) => shapes.reviewer(context, pull, it)));
});

// --- notes

route('GET', `${PULL}/notes`, READ, (context) => {
  const { number } = pullOf(context);
  const all = context.repository.comments.filter((it) => it.number === number);
  const isUp = context.query.get('sort') === 'asc';
  return paged(context, isUp ? all : all.reverse(), (it) => shapes.note(context, it));
});

route('POST', `${PULL}/notes`, READ, (context) => {
  const { state, repository, who, body } = context;
  const pull = pullOf(context);
  if (body.body.length > 1_000_000) throw new Refusal('invalid', 'is too long', { field: 'note' });
  const text = acted(context, pull, body.body);
  if (!text) throw new Refusal('invalid', "can't be blank", { field: 'note' });
  const note = state.addComment(repository, pull.number, who, text);
  note.created = note.updated = stamp(state);
  pull.updated = state.stamp();
  return made(shapes.note(context, note));
});

function noteOf(context) {
  const { number } = pullOf(context);
  const found = context.repository.comments.find((it) => it.number === number && it.id === Number(context.params.note_id));
  if (!found) throw new Refusal('missing', 'Not found');
  return found;
}

route('PUT', `${PULL}/notes/{note_id}`, READ, (context) => {
  const { state, repository, who, body } = context;
  const note = noteOf(context);
  if (note.by !== who.user.login && !state.may(repository, who, 'maintain')) throw new Refusal('forbidden', 'Forbidden');
  Object.assign(note, { body: acted(context, null, body.body), updated: stamp(state) });
  return ok(shapes.note(context, note));
});

route('GET', `${PULL}/notes/{note_id}/award_emoji`, READ, (context) => {
  const note = noteOf(context);
  return paged(context, context.repository.reactions.filter((it) => it.comment === note.id), (it) => shapes.awardEmoji(context, it));
});

route('POST', `${PULL}/notes/{note_id}/award_emoji`, READ, (context) => {
  const { state, repository, who, body } = context;
  const note = noteOf(context);
  if (!EMOJI.includes(body.name)) throw new Refusal('missing', 'Award Emoji Name is not a valid emoji name Not Found');
  const same = (it) => it.comment === note.id && it.by === who.user.login && it.content === body.name;
  if (repository.reactions.some(same)) throw new Refusal('missing', 'Award Emoji Name has already been taken Not Found');
  const award = { id: state.id(), comment: note.id, by: who.user.login, content: body.name, at: stamp(state) };
  repository.reactions.push(award);
  return made(shapes.awardEmoji(context, award));
});

// --- statuses and pipelines

function commitOf({ state, repository, params }) {
  const sha = ID.test(params.sha) ? state.git.commit(repository.key, params.sha) : null;
  if (!sha) throw new Refusal('missing', 'Commit Not Found');
  return sha;
}

route('POST', `${PROJECT}/statuses/{sha}`, WRITE, (context) => {
  const { state, repository, who, body } = context;
  const sha = commitOf(context);
  return made(shapes.status(context, postStatus(state, repository, who, { ...body, sha })));
});

route('GET', `${PROJECT}/repository/commits/{sha}/statuses`, READ, (context) => {
  const sha = commitOf(context);
  return paged(context, latestJobs(context.repository, sha), (it) => shapes.status(context, it));
});

route('GET', `${PROJECT}/pipelines`, READ, (context) => {
  const { repository, query } = context;
  const found = repository.pipelines.filter((it) => !query.has('sha') || it.sha === query.get('sha')).reverse();
  return paged(context, found, (it) => shapes.pipeline(context, it));
});

route('GET', `${PROJECT}/pipelines/{pipeline_id}`, READ, (context) => {
  const found = context.repository.pipelines.find((it) => it.id === Number(context.params.pipeline_id));
  if (!found) throw new Refusal('missing', 'Not found');
  return ok(shapes.pipelineWhole(context, found));
});
