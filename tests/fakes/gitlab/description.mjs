// GitLab's API, version 4, as far as tars and the people of the tests use it: an OpenAPI description in the form that
// ../core/contract.mjs judges by.
//
// GitLab publishes one, but no package registry carries it, so this was written by hand from the attributes and examples
// of GitLab's REST documentation (18.x). A field or a parameter that is not named here counts as made up, on either
// side. Fields that GitLab always sends are required, those of paid editions and of newer versions are not.

const text = { type: 'string' };
const id = { type: 'integer', minimum: 1 };
const count = { type: 'integer', minimum: 0 };
const flag = { type: 'boolean' };
const time = { type: 'string', format: 'date-time' };
const commit = { type: 'string', pattern: '^[0-9a-f]{40}$' };
const oneOf = (...words) => ({ type: 'string', enum: words });
const list = (items) => ({ type: 'array', items });
const maybe = (schema) => ({ ...schema, nullable: true });
const some = (schema) => ({ optional: schema });
const named = (name) => ({ $ref: `#/components/schemas/${name}` });
const maybeNamed = (name) => ({ nullable: true, allOf: [named(name)] });

// Every field is required unless it is `some`.
function object(fields) {
  const properties = Object.fromEntries(Object.entries(fields).map(([key, it]) => [key, it.optional ?? it]));
  return { type: 'object', properties, required: Object.keys(fields).filter((key) => !fields[key].optional) };
}

const userBasic = { id, username: text, name: text, state: oneOf('active', 'blocked'), avatar_url: maybe(text), web_url: text, locked: flag };
const approvers = list(object({ user: named('user'), approved_at: some(time) }));
const STATUS = oneOf('pending', 'running', 'success', 'failed', 'canceled', 'skipped');
const JOB = oneOf('created', 'waiting_for_resource', 'preparing', 'pending', 'running', 'success', 'failed', 'canceled', 'skipped', 'manual', 'scheduled');
const SOURCE = oneOf('push', 'web', 'schedule', 'api', 'external', 'merge_request_event', 'pipeline', 'trigger');
const DETAIL = oneOf('mergeable', 'checking', 'unchecked', 'preparing', 'conflict', 'broken_status', 'need_rebase', 'ci_must_pass',
  'ci_still_running', 'discussions_not_resolved', 'draft_status', 'not_approved', 'not_open', 'requested_changes');

const mergeRequest = {
  id, iid: id, project_id: id, title: text, description: maybe(text), state: oneOf('opened', 'closed', 'locked', 'merged'),
  created_at: time, updated_at: time, merged_by: maybeNamed('user'), merge_user: maybeNamed('user'), merged_at: maybe(time),
  closed_by: maybeNamed('user'), closed_at: maybe(time), target_branch: text, source_branch: text, user_notes_count: count,
  upvotes: count, downvotes: count, author: named('user'), assignees: list(named('user')), assignee: maybeNamed('user'),
  reviewers: list(named('user')), source_project_id: maybe(id), target_project_id: id, labels: list(text), draft: flag,
  work_in_progress: flag, milestone: maybe({ type: 'object' }), merge_when_pipeline_succeeds: flag,
  merge_status: oneOf('unchecked', 'checking', 'can_be_merged', 'cannot_be_merged', 'cannot_be_merged_recheck'),
  detailed_merge_status: DETAIL, sha: maybe(commit), merge_commit_sha: maybe(commit), squash_commit_sha: maybe(commit),
  discussion_locked: maybe(flag), should_remove_source_branch: maybe(flag), force_remove_source_branch: maybe(flag),
  reference: text, references: object({ short: text, relative: text, full: text }), web_url: text, squash: flag,
  squash_on_merge: flag, has_conflicts: flag, blocking_discussions_resolved: flag,
};

const project = {
  id, name: text, path: text, path_with_namespace: text, default_branch: maybe(text), web_url: text, http_url_to_repo: text,
  ssh_url_to_repo: text, visibility: oneOf('private', 'internal', 'public'), archived: flag, empty_repo: flag, created_at: time,
  merge_requests_enabled: flag, merge_requests_access_level: oneOf('disabled', 'private', 'enabled'),
  merge_method: oneOf('merge', 'rebase_merge', 'ff'), squash_option: oneOf('never', 'always', 'default_on', 'default_off'),
  remove_source_branch_after_merge: maybe(flag), only_allow_merge_if_pipeline_succeeds: flag,
  allow_merge_on_skipped_pipeline: maybe(flag), only_allow_merge_if_all_discussions_are_resolved: flag,
  permissions: object({
    project_access: { nullable: true, allOf: [object({ access_level: count, notification_level: count })] },
    group_access: { nullable: true, allOf: [object({ access_level: count, notification_level: count })] },
  }),
};

const pipeline = { id, iid: id, project_id: id, sha: commit, ref: text, status: JOB, source: SOURCE, created_at: time, updated_at: time, web_url: text };

const schemas = {
  user: object(userBasic),
  // What an account sees of itself; `is_admin` is told to administrators.
  self: object({ ...userBasic, created_at: time, bot: flag, public_email: maybe(text), email: text, is_admin: some(flag) }),
  project: object(project),
  member: object({ ...userBasic, access_level: count, created_at: time, expires_at: maybe(text), membership_state: some(oneOf('active', 'awaiting')) }),
  branch: object({
    name: text, merged: flag, protected: flag, default: flag, developers_can_push: flag, developers_can_merge: flag, can_push: flag, web_url: text,
    commit: object({ id: commit, short_id: text, title: text, message: text, created_at: time, parent_ids: list(commit) }),
  }),
  protectedBranch: object({
    id, name: text, allow_force_push: flag, push_access_levels: list(named('accessLevel')), merge_access_levels: list(named('accessLevel')),
    code_owner_approval_required: some(flag),
  }),
  accessLevel: object({ id, access_level: maybe(count), access_level_description: text, user_id: some(maybe(id)), group_id: some(maybe(id)) }),
  approvalRule: object({
    id, name: text, rule_type: oneOf('any_approver', 'regular'), eligible_approvers: list(named('user')), approvals_required: count,
    users: list(named('user')), groups: list({ type: 'object' }), contains_hidden_groups: flag,
    protected_branches: list(object({ id, name: text })), applies_to_all_protected_branches: flag,
  }),
  approvalSettings: object({
    approvals_before_merge: count, reset_approvals_on_push: flag, disable_overriding_approvers_per_merge_request: flag,
    merge_requests_author_approval: flag, merge_requests_disable_committers_approval: flag,
  }),
  mergeRequest: object(mergeRequest),
  mergeRequestWhole: object({
    ...mergeRequest, diff_refs: object({ base_sha: commit, head_sha: commit, start_sha: commit }), merge_error: maybe(text),
    user: object({ can_merge: flag }), changes_count: maybe(text), subscribed: flag, first_contribution: flag,
    head_pipeline: { nullable: true, type: 'object' },
  }),
  reviewer: object({
    user: named('user'), created_at: time,
    state: oneOf('unreviewed', 'reviewed', 'requested_changes', 'approved', 'unapproved', 'review_started'),
  }),
  approvals: object({
    user_has_approved: flag, user_can_approve: flag, approved: flag, approved_by: approvers,
    approvals_required: some(count), approvals_left: some(count),
  }),
  version: object({
    id, head_commit_sha: commit, base_commit_sha: commit, start_commit_sha: commit, created_at: time, merge_request_id: id,
    state: text, real_size: text, patch_id_sha: maybe(commit),
  }),
  note: object({
    id, type: maybe(text), body: text, author: named('user'), created_at: time, updated_at: time, system: flag, noteable_id: id,
    noteable_type: text, noteable_iid: id, project_id: id, resolvable: flag, confidential: flag, internal: flag, imported: flag,
  }),
  awardEmoji: object({ id, name: text, user: named('user'), created_at: time, updated_at: time, awardable_id: id, awardable_type: text }),
  status: object({
    id, sha: commit, ref: text, status: JOB, name: text, target_url: maybe(text), description: maybe(text), created_at: time,
    started_at: maybe(time), finished_at: maybe(time), allow_failure: flag, coverage: maybe({ type: 'number' }),
    author: named('user'), pipeline_id: id,
  }),
  pipeline: object(pipeline),
  pipelineWhole: object({ ...pipeline, before_sha: text, tag: flag, yaml_errors: maybe(text), user: named('user') }),
};

const PAGE = { page: id, per_page: { type: 'integer', minimum: 1, maximum: 100 } };
const SORT = { order_by: text, sort: oneOf('asc', 'desc') };
const labels = { anyOf: [text, list(text)] };
const edit = {
  title: some(text), description: some(text), labels: some(labels), add_labels: some(labels), remove_labels: some(labels),
  reviewer_ids: some(list(count)), assignee_ids: some(list(count)), squash: some(flag), remove_source_branch: some(flag),
};

const json = (schema) => ({ 'application/json': { schema } });

// [method, path, {query, body, status, answer}]
const operations = [
  ['get', '/user', { answer: named('self') }],
  ['get', '/users', { query: { username: text, ...PAGE }, answer: list(named('user')) }],
  ['get', '/projects/{id}', { answer: named('project') }],
  ['get', '/projects/{id}/members/all/{user_id}', { answer: named('member') }],
  ['get', '/projects/{id}/repository/branches/{branch}', { answer: named('branch') }],
  ['get', '/projects/{id}/protected_branches/{name}', { answer: named('protectedBranch') }],
  ['get', '/projects/{id}/approval_rules', { query: PAGE, answer: list(named('approvalRule')) }],
  ['get', '/projects/{id}/approvals', { answer: named('approvalSettings') }],
  ['get', '/projects/{id}/merge_requests', {
    query: { state: oneOf('opened', 'closed', 'locked', 'merged', 'all'), source_branch: text, target_branch: text, ...SORT, ...PAGE },
    answer: list(named('mergeRequest')),
  }],
  ['post', '/projects/{id}/merge_requests', {
    body: object({ ...edit, title: text, source_branch: text, target_branch: text }), status: 201, answer: named('mergeRequestWhole'),
  }],
  ['get', '/projects/{id}/merge_requests/{iid}', { answer: named('mergeRequestWhole') }],
  ['put', '/projects/{id}/merge_requests/{iid}', {
    body: object({ ...edit, target_branch: some(text), state_event: some(oneOf('close', 'reopen')) }), answer: named('mergeRequestWhole'),
  }],
  ['put', '/projects/{id}/merge_requests/{iid}/merge', {
    body: object({
      sha: some(commit), squash: some(flag), should_remove_source_branch: some(flag), merge_commit_message: some(text),
      squash_commit_message: some(text), auto_merge: some(flag), merge_when_pipeline_succeeds: some(flag),
    }),
    answer: named('mergeRequestWhole'),
  }],
  ['get', '/projects/{id}/merge_requests/{iid}/approvals', { answer: named('approvals') }],
  ['post', '/projects/{id}/merge_requests/{iid}/approve', { body: object({ sha: some(commit) }), status: 201, answer: named('approvals') }],
  ['post', '/projects/{id}/merge_requests/{iid}/unapprove', { body: object({}), status: 201, answer: named('approvals') }],
  ['get', '/projects/{id}/merge_requests/{iid}/reviewers', { answer: list(named('reviewer')) }],
  ['get', '/projects/{id}/merge_requests/{iid}/versions', { query: PAGE, answer: list(named('version')) }],
  ['get', '/projects/{id}/merge_requests/{iid}/notes', { query: { ...SORT, ...PAGE }, answer: list(named('note')) }],
  ['post', '/projects/{id}/merge_requests/{iid}/notes', { body: object({ body: text }), status: 201, answer: named('note') }],
  ['put', '/projects/{id}/merge_requests/{iid}/notes/{note_id}', { body: object({ body: text }), answer: named('note') }],
  ['get', '/projects/{id}/merge_requests/{iid}/notes/{note_id}/award_emoji', { query: PAGE, answer: list(named('awardEmoji')) }],
  ['post', '/projects/{id}/merge_requests/{iid}/notes/{note_id}/award_emoji', {
    body: object({ name: text }), status: 201, answer: named('awardEmoji'),
  }],
  ['post', '/projects/{id}/statuses/{sha}', {
    body: object({
      state: STATUS, name: some(text), context: some(text), ref: some(text), description: some({ type: 'string', maxLength: 255 }),
      target_url: some({ type: 'string', maxLength: 255, pattern: '^https?://' }), pipeline_id: some(id), coverage: some({ type: 'number' }),
    }),
    status: 201, answer: named('status'),
  }],
  ['get', '/projects/{id}/repository/commits/{sha}/statuses', {
    query: { ref: text, name: text, stage: text, all: flag, ...PAGE }, answer: list(named('status')),
  }],
  ['get', '/projects/{id}/pipelines', { query: { sha: commit, ref: text, source: text, status: text, ...SORT, ...PAGE }, answer: list(named('pipeline')) }],
  ['get', '/projects/{id}/pipelines/{pipeline_id}', { answer: named('pipelineWhole') }],
];

export function description() {
  const paths = {};
  for (const [method, path, { query = {}, body, status = 200, answer }] of operations) {
    paths[path] ??= {};
    paths[path][method] = {
      parameters: Object.entries(query).map(([name, schema]) => ({ in: 'query', name, schema })),
      ...(body && { requestBody: { required: true, content: json(body) } }),
      responses: { [status]: { content: json(answer) } },
    };
  }
  return { paths, components: { schemas } };
}

// Errors look alike everywhere: a message, which may be a list or an object by field, or an OAuth error.
const words = { anyOf: [text, list(text), { type: 'object', additionalProperties: list(text) }] };
export const error = {
  anyOf: [object({ message: words }), object({ error: text, error_description: some(text), scope: some(text) })],
};
