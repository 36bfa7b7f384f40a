// The facts of ../core/state.mjs as GitLab's JSON. What the description requires beside it is filled in by the contract.

import { headPipeline, stateOf } from './pipelines.mjs';

const LEVELS = { none: 0, read: 10, triage: 20, write: 30, maintain: 40, admin: 50 };
const MERGES = { merge: 'merge', rebase_merge: 'merge', ff: 'fast-forward' };

export const level = (state, repository, who) => (who ? LEVELS[repository.members.get(who.user.login) ?? 'none'] : 0);

export function user({ server }, it) {
  return { id: it.id, username: it.login, name: it.login, state: 'active', avatar_url: null, web_url: `${server.url}/${it.login}`, locked: false };
}

const userOf = (context, login) => user(context, context.state.user(login));

export const self = (context, it) => ({
  ...user(context, it), created_at: context.state.now().toISOString(), bot: false, public_email: null, email: `${it.login}@example.com`,
  ...(it.admin && { is_admin: true }),
});

export function project({ state, server, who }, it) {
  const has = level(state, it, who);
  return {
    id: it.id, name: it.name, path: it.name, path_with_namespace: it.key, default_branch: it.main, web_url: `${server.url}/${it.key}`,
    http_url_to_repo: `${server.url}/${it.key}.git`, ssh_url_to_repo: `git@localhost:${it.key}.git`, visibility: it.private ? 'private' : 'public',
    archived: it.archived, empty_repo: false, created_at: it.created, merge_requests_enabled: it.pulls_enabled,
    merge_requests_access_level: it.pulls_enabled ? 'enabled' : 'disabled', merge_method: it.merge_method, squash_option: it.squash_option,
    remove_source_branch_after_merge: it.deletes_merged, only_allow_merge_if_pipeline_succeeds: it.pipeline_must_succeed,
    allow_merge_on_skipped_pipeline: null, only_allow_merge_if_all_discussions_are_resolved: it.threads_must_resolve,
    permissions: { project_access: has > 0 ? { access_level: has, notification_level: 3 } : null, group_access: null },
  };
}

export const member = (context, repository, it) =>
  ({ ...user(context, it), access_level: level(context.state, repository, { user: it }), created_at: repository.created, expires_at: null });

export const rulesOf = (state, repository, branch) => state.rulesOf(repository, branch);

export function mayMerge(state, repository, who, branch) {
  const has = who.user.admin ? 50 : level(state, repository, who);
  return rulesOf(state, repository, branch).every((it) => has >= it.merge_level) && has >= 30;
}

export function branch({ state, server, repository, who }, name, sha) {
  const rules = rulesOf(state, repository, name);
  const isClosed = rules.some((it) => it.pull || it.approvals);
  return {
    name, merged: false, protected: rules.length > 0, default: name === repository.main,
    developers_can_push: rules.length > 0 && !isClosed, developers_can_merge: rules.length > 0 && rules.every((it) => it.merge_level <= 30),
    can_push: !isClosed && state.may(repository, who, 'write'), web_url: `${server.url}/${repository.key}/-/tree/${name}`,
    commit: { id: sha, short_id: sha.slice(0, 8), title: 'x', message: 'x', created_at: repository.created, parent_ids: [] },
  };
}

const DESCRIBED = { 0: 'No one', 30: 'Developers + Maintainers', 40: 'Maintainers' };

export function protectedBranch({ state }, rule) {
  const at = (access_level) => [{ id: state.id(), access_level, access_level_description: DESCRIBED[access_level] }];
  return {
    id: state.id(), name: rule.branch, allow_force_push: false, push_access_levels: at(rule.pull || rule.approvals ? 0 : 30),
    merge_access_levels: at(rule.merge_level),
  };
}

export const approvalRule = ({ state }, rule) => ({
  id: state.id(), name: `Approvals for ${rule.branch}`, rule_type: 'regular', eligible_approvers: [], approvals_required: rule.approvals,
  users: [], groups: [], contains_hidden_groups: false, protected_branches: [{ id: state.id(), name: rule.branch }],
  applies_to_all_protected_branches: false,
});

export const mergesBy = (repository, squashes) => {
  const plain = MERGES[repository.merge_method];
  if (!squashes) return plain;
  return plain === 'merge' ? 'squash-merge' : 'squash';
};

export function squashes(repository, pull) {
  if (repository.squash_option === 'always') return true;
  return repository.squash_option !== 'never' && pull.squash === true;
}

// What stands against a merge: [status of the refusal, GitLab's word for it], or null.
export function obstacle({ state, repository }, pull) {
  if (pull.state !== 'open') return [405, 'not_open'];
  if (pull.draft) return [405, 'draft_status'];
  const isPremium = repository.edition !== 'free';
  const needed = Math.max(0, ...rulesOf(state, repository, pull.base).map((it) => it.approvals ?? 0));
  const opinions = state.opinions(repository, pull);
  if (isPremium && opinions.some((it) => it.state === 'changes_requested')) return [405, 'requested_changes'];
  if (isPremium && opinions.filter((it) => it.state === 'approved').length < needed) return [405, 'not_approved'];
  if (repository.threads_must_resolve && pull.unresolved) return [405, 'discussions_not_resolved'];
  if (repository.pipeline_must_succeed) {
    const pipeline = headPipeline(repository, pull);
    const now = pipeline && stateOf(repository, pipeline);
    if (now !== 'success') return [405, ['running', 'pending', 'created'].includes(now) ? 'ci_still_running' : 'ci_must_pass'];
  }
  if (!state.isMergeable(repository, pull)) return [422, 'conflict'];
  const isBehind = !state.git.contains(repository.key, pull.headSha, pull.baseSha);
  if (isBehind && repository.merge_method !== 'merge') return [422, 'need_rebase'];
  return null;
}

export function mergeRequest(context, it) {
  const { state, server, repository: of } = context;
  // GitLab looks at a new head or base when somebody asks for exactly this one, and answers before it has looked.
  const isLooked = it.looked === `${it.baseSha} ${it.headSha}`;
  const [, word] = obstacle(context, it) ?? [];
  const isConflict = word === 'conflict';
  const sees = isConflict ? 'cannot_be_merged' : 'can_be_merged';
  const isOpen = it.state === 'open';
  const short = `!${it.number}`;
  const person = (login) => (login ? userOf(context, login) : null);
  const isSquashed = it.merged && it.merged.method?.startsWith('squash');
  return {
    id: it.id, iid: it.number, project_id: of.id, title: it.title, description: it.body,
    state: it.merged ? 'merged' : { open: 'opened', closed: 'closed' }[it.state], created_at: it.created, updated_at: it.updated,
    merged_by: person(it.merged?.by), merge_user: person(it.merged?.by ?? it.auto_merge?.by), merged_at: it.merged?.at ?? null,
    closed_by: it.merged || isOpen ? null : person(it.closed_by), closed_at: it.merged ? null : it.closed,
    target_branch: it.base, source_branch: it.head, user_notes_count: of.comments.filter((at) => at.number === it.number && !at.system).length,
    upvotes: 0, downvotes: 0, author: userOf(context, it.author), assignees: [], assignee: null,
    reviewers: it.reviewers.map((login) => userOf(context, login)), source_project_id: it.fork ? of.id + 500_000 : of.id,
    target_project_id: of.id, labels: [...it.labels].sort(), draft: it.draft, work_in_progress: it.draft, milestone: null,
    merge_when_pipeline_succeeds: it.auto_merge !== null, merge_status: isLooked || !isOpen ? sees : 'checking',
    detailed_merge_status: isLooked || !isOpen ? word ?? 'mergeable' : 'checking', sha: it.headSha,
    // A fast-forward makes no commit, and GitLab names none.
    merge_commit_sha: it.merged && ['merge', 'squash-merge'].includes(it.merged.method) ? it.merged.commit : null,
    squash_commit_sha: isSquashed && it.merged.method === 'squash' ? it.merged.commit : null, discussion_locked: null,
    should_remove_source_branch: null, force_remove_source_branch: null, reference: short,
    references: { short, relative: short, full: `${of.key}${short}` }, web_url: `${server.url}/${of.key}/-/merge_requests/${it.number}`,
    squash: it.squash === true, squash_on_merge: squashes(of, it), has_conflicts: isConflict, blocking_discussions_resolved: !it.unresolved,
  };
}

export function mergeRequestWhole(context, it) {
  const { state, repository: of, who } = context;
  const shown = {
    ...mergeRequest(context, it), diff_refs: { base_sha: it.baseSha, head_sha: it.headSha, start_sha: it.baseSha }, merge_error: null,
    user: { can_merge: mayMerge(state, of, who, it.base) }, changes_count: '1', subscribed: false, first_contribution: false, head_pipeline: null,
  };
  it.looked = `${it.baseSha} ${it.headSha}`;
  return shown;
}

export function approvals(context, pull) {
  const { state, repository, who } = context;
  const all = state.opinions(repository, pull).filter((it) => it.state === 'approved');
  const needed = Math.max(0, ...rulesOf(state, repository, pull.base).map((it) => it.approvals ?? 0));
  return {
    user_has_approved: all.some((it) => it.by === who?.user.login), user_can_approve: pull.author !== who?.user.login,
    approved: all.length >= Math.max(needed, 1), approved_by: all.map((it) => ({ user: userOf(context, it.by), approved_at: it.at })),
    ...(repository.edition !== 'free' && { approvals_required: needed, approvals_left: Math.max(needed - all.length, 0) }),
  };
}

export function reviewer({ state, server, repository }, pull, login) {
  const last = repository.reviews.filter((it) => it.number === pull.number && it.by === login).pop();
  const word = { approved: 'approved', changes_requested: 'requested_changes', commented: 'reviewed', dismissed: 'unapproved' };
  return { user: user({ server }, state.user(login)), state: last ? word[last.state] : 'unreviewed', created_at: pull.created };
}

export const version = (pull) => ({ sha, at, base }, index) => ({
  id: pull.id * 100 + pull.versions.length - index, head_commit_sha: sha, base_commit_sha: base, start_commit_sha: base, created_at: at,
  merge_request_id: pull.id, state: 'collected', real_size: '1', patch_id_sha: null,
});

export const note = (context, it) => ({
  id: it.id, type: null, body: it.body, author: userOf(context, it.by), created_at: it.created, updated_at: it.updated, system: it.system ?? false,
  noteable_id: it.number, noteable_type: 'MergeRequest', noteable_iid: it.number, project_id: context.repository.id, resolvable: false,
  confidential: false, internal: false, imported: false,
});

export const awardEmoji = (context, it) => ({
  id: it.id, name: it.content, user: userOf(context, it.by), created_at: it.at, updated_at: it.at, awardable_id: it.comment, awardable_type: 'Note',
});

export const status = (context, it) => ({
  id: it.id, sha: it.sha, ref: it.ref, status: it.state, name: it.context, target_url: it.url, description: it.description, created_at: it.at,
  started_at: null, finished_at: null, allow_failure: it.allow_failure, coverage: null, author: userOf(context, it.by), pipeline_id: it.pipeline,
});

export const pipeline = ({ server, repository: of }, it) => ({
  id: it.id, iid: it.iid, project_id: of.id, sha: it.sha, ref: it.ref, status: stateOf(of, it), source: it.source, created_at: it.at,
  updated_at: it.at, web_url: `${server.url}/${of.key}/-/pipelines/${it.id}`,
});

export const pipelineWhole = (context, it) =>
  ({ ...pipeline(context, it), before_sha: '0'.repeat(40), tag: false, yaml_errors: null, user: userOf(context, it.by) });
