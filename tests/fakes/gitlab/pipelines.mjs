// Checks as GitLab has them: every job and every posted status belongs to a pipeline of its commit.
//
// In: what is posted, and pipelines that a test makes. Out: their states. A status goes into the newest pipeline of the
// commit; where there is none, GitLab makes one of the source `external`. What has not ended cannot be said again.

import { Refusal } from '../core/state.mjs';

const ACTIVE = ['created', 'pending', 'running'];
const JOBS_MAX = 1000;

export function addPipeline(state, repository, user, { sha, ref, source = 'push', jobs = [] }) {
  const at = state.now().toISOString();
  const pipeline = { id: state.id(), iid: repository.pipelines.length + 1, sha, ref, source, by: user.login, at };
  repository.pipelines.push(pipeline);
  for (const it of jobs) addJob(state, repository, pipeline, user, { context: it.name, state: it.status, allow_failure: it.allow_failure });
  return pipeline;
}

function addJob(state, repository, pipeline, user, { context, state: word, description = null, url = null, allow_failure = false }) {
  const { id, sha, ref } = pipeline;
  for (const it of repository.statuses.filter((it) => it.pipeline === id && it.context === context && it.ref === ref)) it.retried = true;
  const job = { id: state.id(), sha, ref, context, state: word, description, url, allow_failure, by: user.login, pipeline: id, at: state.now().toISOString() };
  repository.statuses.push(job);
  return job;
}

export const latestJobs = (repository, sha) => repository.statuses.filter((it) => it.sha === sha && !it.retried);

export function stateOf(repository, pipeline) {
  const jobs = repository.statuses.filter((it) => it.pipeline === pipeline.id && !it.retried);
  const has = (...words) => jobs.some((it) => words.includes(it.state) && !(it.allow_failure && it.state === 'failed'));
  if (jobs.length === 0 || has('created')) return 'created';
  if (has('running')) return 'running';
  if (has('pending')) return has('success', 'failed') ? 'running' : 'pending';
  if (has('canceled')) return 'canceled';
  if (has('failed')) return 'failed';
  if (has('manual')) return 'manual';
  return jobs.every((it) => it.state === 'skipped') ? 'skipped' : 'success';
}

// The pipeline that decides about a merge request.
export const headPipeline = (repository, pull) =>
  repository.pipelines.filter((it) => it.sha === pull.headSha && it.ref === pull.head).pop() ?? null;

export function postStatus(state, repository, who, { sha, name, context, ref, state: word, description, target_url }) {
  const known = repository.pipelines.filter((it) => it.sha === sha && (!ref || it.ref === ref)).pop();
  const found = ref ?? known?.ref ?? branchWith(state, repository, sha);
  if (!found) throw new Refusal('missing', 'References for commit Not Found');
  const pipeline = known ?? addPipeline(state, repository, who.user, { sha, ref: found, source: 'external' });
  const called = name ?? context ?? 'default';
  const same = (it) => it.pipeline === pipeline.id && it.context === called && it.by === who.user.login && ACTIVE.includes(it.state);
  const old = repository.statuses.find((it) => same(it) && !it.retried);
  const invalid = (event) => new Refusal('refused', `Cannot transition status via :${event} from :${old.state}`, { status: 400 });
  if (old && word === 'pending') throw invalid('enqueue');
  if (old?.state === 'running' && word === 'running') throw invalid('run');
  const said = { state: word, ...(description !== undefined && { description }), ...(target_url !== undefined && { url: target_url }) };
  if (old) return Object.assign(old, said);
  if (repository.statuses.filter((it) => it.pipeline === pipeline.id).length >= JOBS_MAX) {
    throw new Refusal('refused', 'The number of jobs has exceeded the limit', { status: 422 });
  }
  return addJob(state, repository, pipeline, who.user, { ...said, context: called });
}

function branchWith(state, repository, sha) {
  const heads = [...state.git.branches(repository.key)];
  return heads.find(([, head]) => state.git.contains(repository.key, head, sha))?.[0] ?? null;
}
