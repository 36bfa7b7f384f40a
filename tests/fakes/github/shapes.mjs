// The facts of ../core/state.mjs as GitHub's JSON: only what the stand-in knows. What the description requires beside
// it is filled in by the contract.

import { ROLES } from '../core/state.mjs';

const nodeId = (kind, id) => Buffer.from(`${kind}:${id}`).toString('base64');

export function user(it) {
  if (!it) return null;
  return { login: it.login, id: it.id, node_id: nodeId('User', it.id), type: it.kind, site_admin: it.admin };
}

const userOf = (state, login) => user(state.users.get(login.toLowerCase()));

export function permissions(state, repository, who) {
  const has = ROLES.indexOf(state.role(repository, who));
  const at = (role) => has >= ROLES.indexOf(role);
  return { admin: at('admin'), maintain: at('maintain'), push: at('write'), triage: at('triage'), pull: at('read') };
}

export function repository({ state, server, who }, it) {
  const url = `${server.url}/api/v3/repos/${it.key}`;
  const full = {
    id: it.id, node_id: nodeId('Repository', it.id), name: it.name, full_name: it.key, private: it.private,
    owner: userOf(state, it.owner), html_url: `${server.url}/${it.key}`, url, clone_url: `${server.url}/${it.key}.git`,
    git_url: `git://localhost/${it.key}.git`, ssh_url: `git@localhost:${it.key}.git`, default_branch: it.main,
    archived: it.archived, disabled: false, fork: false, visibility: it.private ? 'private' : 'public',
    has_issues: true, created_at: it.created, updated_at: it.created, pushed_at: it.created,
    permissions: permissions(state, it, who),
  };
  // Only for those who may push.
  if (!state.may(it, who, 'write')) return full;
  return {
    ...full,
    allow_merge_commit: it.methods.includes('merge'), allow_squash_merge: it.methods.includes('squash'),
    allow_rebase_merge: it.methods.includes('rebase'), allow_auto_merge: it.auto_merge_allowed,
    delete_branch_on_merge: it.deletes_merged,
  };
}

// A repository as it stands inside a pull request: without rights and settings.
function inside(context, it) {
  const { permissions: _, allow_auto_merge: _a, delete_branch_on_merge: _b, allow_merge_commit: _c, allow_squash_merge: _d,
    allow_rebase_merge: _e, ...plain } = repository(context, it);
  return plain;
}

function label(it) {
  return { id: it.id, node_id: nodeId('Label', it.id), name: it.name, description: it.description ?? '', color: it.color, default: false, url: 'https://example.com/' };
}

export const labels = (repository, names) => names.map((name) => label(repository.labels.get(name.toLowerCase())));

export function association(state, repository, login) {
  if (login === repository.owner) return 'OWNER';
  return repository.members.has(login) ? 'COLLABORATOR' : 'NONE';
}

function end(context, it, branch, sha, fork) {
  const owner = fork ?? it.owner;
  const gone = fork && !context.state.users.has(fork.toLowerCase());
  const repo = fork ? (gone ? null : { ...inside(context, it), id: it.id + 500_000, fork: true }) : inside(context, it);
  return { label: `${owner}:${branch}`, ref: branch, sha, user: gone ? null : userOf(context.state, owner), repo };
}

// As lists and answers to writes show it.
export function pullSimple(context, it) {
  const { state, server, repository: of } = context;
  const url = `${server.url}/api/v3/repos/${of.key}/pulls/${it.number}`;
  return {
    url, id: it.id, node_id: nodeId('PullRequest', it.id), html_url: `${server.url}/${of.key}/pull/${it.number}`,
    number: it.number, state: it.state, locked: false, title: it.title, body: it.body || null, draft: it.draft,
    user: userOf(state, it.author), labels: labels(of, it.labels), created_at: it.created, updated_at: it.updated,
    closed_at: it.closed, merged_at: it.merged?.at ?? null, merge_commit_sha: it.merged?.commit ?? testCommit(it),
    requested_reviewers: it.reviewers.map((login) => userOf(state, login)), requested_teams: [],
    head: end(context, of, it.head, it.headSha, it.fork), base: end(context, of, it.base, it.baseSha, null),
    author_association: association(state, of, it.author),
    auto_merge: it.auto_merge && {
      enabled_by: userOf(state, it.auto_merge.by), merge_method: it.auto_merge.method, commit_title: it.title, commit_message: '',
    },
  };
}

// An open pull request names a commit that nobody has: GitHub's own try.
const testCommit = (it) => (it.looked ? it.headSha.split('').reverse().join('') : null);

export function pull(context, it) {
  const { state, repository: of } = context;
  const now = `${it.baseSha} ${it.headSha}`;
  // GitHub looks at a new head or base only when somebody asks, and answers before it has looked.
  const isLooked = it.looked === now;
  it.looked = now;
  const mergeable = it.state === 'open' && isLooked ? state.isMergeable(of, it) : null;
  return {
    ...pullSimple(context, it),
    merged: it.merged !== null, mergeable, rebaseable: mergeable, mergeable_state: mergeState(context, it, mergeable),
    merged_by: it.merged ? userOf(state, it.merged.by) : null,
    comments: of.comments.filter((at) => at.number === it.number).length,
    commits: state.git.ahead(of.key, it.baseSha, it.headSha), maintainer_can_modify: false,
  };
}

function mergeState({ state, repository: of }, it, mergeable) {
  if (mergeable === null) return 'unknown';
  if (!mergeable) return 'dirty';
  if (it.draft) return 'draft';
  return state.blockers(of, it, null).length > 0 ? 'blocked' : 'clean';
}

export function comment({ state, server, repository: of }, it) {
  const url = `${server.url}/api/v3/repos/${of.key}/issues`;
  return {
    id: it.id, node_id: nodeId('IssueComment', it.id), url: `${url}/comments/${it.id}`, issue_url: `${url}/${it.number}`,
    html_url: `${server.url}/${of.key}/pull/${it.number}#issuecomment-${it.id}`, body: it.body, user: userOf(state, it.by),
    created_at: it.created, updated_at: it.updated, author_association: association(state, of, it.by),
  };
}

export function issue(context, it) {
  const { state, server, repository: of } = context;
  return {
    id: it.id, node_id: nodeId('Issue', it.id), number: it.number, title: it.title, body: it.body, state: it.state,
    url: `${server.url}/api/v3/repos/${of.key}/issues/${it.number}`, html_url: `${server.url}/${of.key}/pull/${it.number}`,
    user: userOf(state, it.author), labels: labels(of, it.labels), created_at: it.created, updated_at: it.updated,
    closed_at: it.closed, closed_by: it.closed_by && userOf(state, it.closed_by), comments: 0, assignee: null, milestone: null, locked: false,
    author_association: association(state, of, it.author),
  };
}

export function status({ state, server, repository: of }, it) {
  return {
    url: `${server.url}/api/v3/repos/${of.key}/statuses/${it.sha}`, avatar_url: null, id: it.id,
    node_id: nodeId('StatusContext', it.id), state: it.state, description: it.description, target_url: it.url,
    context: it.context, created_at: it.at, updated_at: it.at, creator: userOf(state, it.by),
  };
}

export function run(it) {
  const { app } = it;
  return {
    id: it.id, node_id: nodeId('CheckRun', it.id), head_sha: it.sha, external_id: '', url: 'https://example.com/', html_url: null,
    details_url: null, status: it.status, conclusion: it.conclusion, started_at: it.at,
    completed_at: it.status === 'completed' ? it.at : null, name: it.name, check_suite: { id: app.id }, pull_requests: [],
    output: { title: it.title, summary: null, text: null },
    app: {
      id: app.id, node_id: nodeId('App', app.id), slug: app.slug, name: app.slug, owner: user(app.user), description: null,
      external_url: 'https://example.com/', html_url: 'https://example.com/', permissions: app.permissions, events: [],
    },
  };
}

const REVIEW = { approved: 'APPROVED', changes_requested: 'CHANGES_REQUESTED', commented: 'COMMENTED', dismissed: 'DISMISSED' };

export function review({ state, server, repository: of }, it) {
  const url = `${server.url}/${of.key}/pull/${it.number}`;
  return {
    id: it.id, node_id: nodeId('Review', it.id), user: userOf(state, it.by), body: it.body, state: REVIEW[it.state],
    html_url: `${url}#pullrequestreview-${it.id}`, pull_request_url: url, submitted_at: it.at, commit_id: it.sha,
    author_association: association(state, of, it.by),
    _links: { html: { href: url }, pull_request: { href: url } },
  };
}

export function branch({ state, server, repository: of }, name, sha) {
  const rules = state.rulesOf(of, name);
  const classic = rules.filter((it) => it.origin !== 'ruleset');
  const checks = classic.flatMap((it) => it.checks ?? []);
  const url = `${server.url}/api/v3/repos/${of.key}/branches/${encodeURIComponent(name)}`;
  return {
    name, commit: { sha, url: `${server.url}/api/v3/repos/${of.key}/commits/${sha}` }, protected: rules.length > 0,
    protection: {
      enabled: classic.length > 0,
      required_status_checks: { enforcement_level: checks.length > 0 ? 'non_admins' : 'off', ...required(checks) },
    },
    protection_url: `${url}/protection`, _links: { html: `${server.url}/${of.key}/tree/${name}`, self: url },
  };
}

const required = (checks) => ({
  contexts: checks.map((it) => it.context),
  checks: checks.map((it) => ({ context: it.context, app_id: it.app ?? null })),
});

// Of one classic rule.
export function protection({ server, repository: of }, rule) {
  const url = `${server.url}/api/v3/repos/${of.key}/branches/${encodeURIComponent(rule.branch)}/protection`;
  return {
    url, enforce_admins: { url: `${url}/enforce_admins`, enabled: rule.enforce_admins ?? false },
    allow_force_pushes: { enabled: false }, allow_deletions: { enabled: false }, lock_branch: { enabled: rule.locked ?? false },
    ...(rule.checks?.length && { required_status_checks: { url: `${url}/required_status_checks`, strict: rule.strict ?? false, ...required(rule.checks) } }),
    ...((rule.pull || rule.approvals) && {
      required_pull_request_reviews: {
        dismiss_stale_reviews: rule.dismiss_stale ?? false, require_code_owner_reviews: false,
        required_approving_review_count: rule.approvals ?? 0, require_last_push_approval: false,
      },
    }),
  };
}

// What one rule of a ruleset comes to.
export function rules(repository, rule) {
  const from = { ruleset_source_type: 'Repository', ruleset_source: repository.key, ruleset_id: repository.id };
  const all = [{ type: 'deletion', ...from }, { type: 'non_fast_forward', ...from }];
  if (rule.locked) all.push({ type: 'update', parameters: { update_allows_fetch_and_merge: false }, ...from });
  if (rule.queue) {
    const parameters = { check_response_timeout_minutes: 60, grouping_strategy: 'ALLGREEN', max_entries_to_build: 5,
      max_entries_to_merge: 5, merge_method: 'MERGE', min_entries_to_merge: 1, min_entries_to_merge_wait_minutes: 5 };
    all.push({ type: 'merge_queue', parameters, ...from });
  }
  if (rule.pull || rule.approvals) {
    const parameters = { dismiss_stale_reviews_on_push: rule.dismiss_stale ?? false, require_code_owner_review: false,
      require_last_push_approval: false, required_approving_review_count: rule.approvals ?? 0,
      required_review_thread_resolution: false };
    all.push({ type: 'pull_request', parameters, ...from });
  }
  if (rule.checks?.length) {
    const parameters = { strict_required_status_checks_policy: rule.strict ?? false,
      required_status_checks: rule.checks.map((it) => ({ context: it.context, ...(it.app && { integration_id: it.app }) })) };
    all.push({ type: 'required_status_checks', parameters, ...from });
  }
  return all;
}
