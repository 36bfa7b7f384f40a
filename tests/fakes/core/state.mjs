// What a forge knows, without the words of any product: users, tokens, repositories, pull requests, checks, reviews.
//
// In: what a forge's own API, the control endpoints or a push asks for. Out: facts, or a `Refusal` with the kind of
// the no; each forge says it in its own way. The state of a pull request is derived from git each time somebody
// looks (`settle`): a head branch that is gone closes it, a head inside its base has merged it. Nothing here is
// more lenient than the products: what one of them refuses, its adapter refuses by the rules kept here.

import { randomBytes } from 'node:crypto';

export const ROLES = ['none', 'read', 'triage', 'write', 'maintain', 'admin'];
export const STATUSES_MAX = 1000;

// kinds: unauthenticated, forbidden, missing, invalid, exists, moved, notReady
export class Refusal extends Error {
  constructor(kind, message, details = {}) {
    super(message);
    this.kind = kind;
    this.details = details;
  }
}

export class State {
  // `forge`: names its own settings of a repository, and gives them their first values.
  constructor(git, forge = {}) {
    this.git = git;
    this.forge = forge;
    this.users = new Map();
    this.tokens = new Map();
    this.apps = new Map();
    // Requests that counted, by login.
    this.spent = new Map();
    this.repositories = new Map();
    this.ids = 1000;
    this.offset_ms = 0;
  }

  now() {
    return new Date(Date.now() + this.offset_ms);
  }

  // As forges write it, to the second.
  stamp() {
    return this.now().toISOString().replace(/\.\d+Z$/, 'Z');
  }

  id() {
    this.ids += 1;
    return this.ids;
  }

  user(login) {
    const found = this.users.get(login.toLowerCase());
    if (!found) throw new Refusal('missing', `there is no user ${login}`);
    return found;
  }

  addUser({ login, admin = false, kind = 'User' }) {
    const user = { id: this.id(), login, admin, kind };
    this.users.set(login.toLowerCase(), user);
    return user;
  }

  // `kind`: what the forge calls it; `grants`: null for everything, otherwise area -> read|write; `only`: names of
  // the repositories that it reaches, null for all.
  addToken({ login, kind = 'classic', scopes = null, grants = null, lifetime_s = null, app = null, only = null, prefix = 'fake_' }) {
    const token = prefix + randomBytes(18).toString('hex');
    const expires_ms = lifetime_s === null ? Infinity : this.now().getTime() + lifetime_s * 1000;
    this.tokens.set(token, { login, kind, scopes, grants, expires_ms, app, only });
    return { token, expires_ms };
  }

  // Who speaks: null without a token, a refusal with one that is not good.
  identity(token) {
    if (!token) return null;
    const found = this.tokens.get(token);
    if (!found || found.expires_ms <= this.now().getTime()) throw new Refusal('unauthenticated', 'Bad credentials');
    return { ...found, user: this.user(found.login) };
  }

  addApp({ slug, public_key, owner, permissions, lifetime_s = 3600 }) {
    const user = this.addUser({ login: `${slug}[bot]`, kind: 'Bot' });
    const app = { id: this.id(), slug, public_key, owner, permissions, lifetime_s, user, installation: this.id() };
    this.apps.set(app.id, app);
    return app;
  }

  // A repository with one commit on main. `members`: login -> role; an app is a member by its installation.
  addRepository({ owner, name, members = {}, files = { 'README.md': `# ${name}\n` }, ...settings }) {
    const key = `${owner}/${name}`;
    if (this.repositories.has(key.toLowerCase())) throw new Refusal('exists', `${key} is there already`);
    this.git.create(key);
    const who = { name: owner, email: `${owner}@example.com` };
    for (const [file, text] of Object.entries(files)) this.git.write(key, { branch: 'main', file, text, who });
    const plain = {
      id: this.id(), owner, name, key, main: 'main', private: true, archived: false, pulls_enabled: true,
      methods: ['merge', 'squash', 'rebase'], deletes_merged: false, auto_merge_allowed: false,
      members: new Map(Object.entries(members)), protection: [], numbers: 0, created: this.stamp(),
      pulls: [], comments: [], statuses: [], runs: [], reviews: [], labels: new Map(), reactions: [],
    };
    const repository = this.forge.extra?.(plain) ?? plain;
    this.repositories.set(key.toLowerCase(), repository);
    if (!this.users.has(owner.toLowerCase())) this.addUser({ login: owner, kind: 'Organization' });
    this.configure(repository, settings);
    return repository;
  }

  // protection: [{branch (or pattern with *), origin, pull, approvals, checks: [{context, app}], strict, dismiss_stale,
  //   enforce_admins, locked, queue}]
  configure(repository, settings) {
    const plain = ['private', 'archived', 'pulls_enabled', 'methods', 'deletes_merged', 'auto_merge_allowed', 'protection',
      ...(this.forge.settings ?? [])];
    for (const [key, value] of Object.entries(settings)) {
      if (key === 'members') for (const [login, role] of Object.entries(value)) repository.members.set(login, role);
      else if (plain.includes(key)) repository[key] = value;
      else throw new Refusal('invalid', `there is no setting ${key}`);
    }
    this.writeRules(repository);
  }

  // Found for this identity, or missing, as forges say of what one may not see.
  repository(owner, name, who) {
    const found = this.repositories.get(`${owner}/${name}`.toLowerCase());
    if (!found || !this.may(found, who, 'read') || (who?.only && !who.only.includes(found.name))) throw new Refusal('missing', 'Not Found');
    return found;
  }

  role(repository, who) {
    if (!who) return repository.private ? 'none' : 'read';
    if (who.user.admin) return 'admin';
    if (who.app) return who.app.owner === repository.owner ? 'write' : 'none';
    return repository.members.get(who.user.login) ?? (repository.private ? 'none' : 'read');
  }

  may(repository, who, role) {
    return ROLES.indexOf(this.role(repository, who)) >= ROLES.indexOf(role);
  }

  // The rules of a branch, of every origin.
  rulesOf(repository, branch) {
    const fits = (it) => new RegExp(`^${it.branch.split('*').map(escaped).join('.*')}$`).test(branch);
    return repository.protection.filter(fits);
  }

  bypasses(repository, who, rule) {
    return rule.origin !== 'ruleset' && !rule.enforce_admins && this.may(repository, who, 'admin');
  }

  writeRules(repository) {
    const lines = [];
    for (const rule of repository.protection) {
      const name = `refs/heads/${rule.branch}`;
      lines.push(`${name} kept`, `${name} forward`);
      if (rule.pull || rule.approvals || rule.locked) lines.push(`${name} closed`);
      if (rule.checks?.length) lines.push(`${name} green ${this.greenCommits(repository, rule).join(' ')}`);
    }
    this.git.rules(repository.key, lines);
  }

  greenCommits(repository, rule) {
    const known = new Set([...repository.statuses, ...repository.runs].map((it) => it.sha));
    return [...known].filter((sha) => this.missingChecks(repository, rule, sha).length === 0);
  }

  // The newest status of each context, newest first.
  latestStatuses(repository, sha) {
    const latest = new Map();
    for (const it of repository.statuses.filter((it) => it.sha === sha)) {
      latest.delete(it.context);
      latest.set(it.context, it);
    }
    return [...latest.values()].reverse();
  }

  // The newest run of each name and app, newest first.
  latestRuns(repository, sha) {
    const latest = new Map();
    for (const it of repository.runs.filter((it) => it.sha === sha)) {
      latest.delete(`${it.app.id} ${it.name}`);
      latest.set(`${it.app.id} ${it.name}`, it);
    }
    return [...latest.values()].reverse();
  }

  missingChecks(repository, rule, sha) {
    const statuses = this.latestStatuses(repository, sha);
    const runs = this.latestRuns(repository, sha);
    const isMet = ({ context, app }) => {
      const said = [
        ...statuses.filter((it) => it.context === context && (!app || it.app === app)).map((it) => it.state === 'success'),
        ...runs.filter((it) => it.name === context && (!app || it.app.id === app))
          .map((it) => ['success', 'neutral', 'skipped'].includes(it.conclusion)),
      ];
      return said.length > 0 && said.every(Boolean);
    };
    return (rule.checks ?? []).filter((it) => !isMet(it));
  }

  addStatus(repository, who, { sha, context = 'default', state, description = null, url = null }) {
    const said = repository.statuses.filter((it) => it.sha === sha && it.context === context);
    if (said.length >= STATUSES_MAX) throw new Refusal('invalid', 'This SHA and context has reached the maximum number of statuses.');
    const status = { id: this.id(), sha, context, state, description, url, by: who.user.login, app: who.app?.id, at: this.stamp() };
    repository.statuses.push(status);
    this.settle(repository);
    return status;
  }

  addRun(repository, app, { sha, name, status = 'completed', conclusion = null, title = null }) {
    const run = { id: this.id(), sha, name, status, conclusion: status === 'completed' ? conclusion : null, title, app, at: this.stamp() };
    repository.runs.push(run);
    this.settle(repository);
    return run;
  }

  pull(repository, number) {
    this.settle(repository);
    const found = repository.pulls.find((it) => it.number === Number(number));
    if (!found) throw new Refusal('missing', 'Not Found');
    return found;
  }

  // `fork`: the owner of another repository, whose branch is only a commit to this server.
  addPull(repository, who, { head, base, title, body = '', draft = false, fork = null, sha = null }) {
    this.settle(repository);
    const headSha = fork ? sha : this.git.head(repository.key, head);
    const baseSha = this.git.head(repository.key, base);
    const field = !headSha ? 'head' : !baseSha ? 'base' : null;
    if (field) throw new Refusal('invalid', 'Validation Failed', { field });
    const same = (it) => it.state === 'open' && it.head === head && it.base === base && it.fork === fork;
    if (repository.pulls.some(same)) throw new Refusal('exists', `A pull request already exists for ${fork ?? repository.owner}:${head}.`);
    if (this.git.ahead(repository.key, baseSha, headSha) === 0) {
      throw new Refusal('invalid', `No commits between ${base} and ${head}`);
    }
    const at = this.stamp();
    repository.numbers += 1;
    const pull = {
      id: this.id(), number: repository.numbers, title, body, author: who.user.login, head, base, fork, headSha, baseSha,
      state: 'open', merged: null, draft, labels: [], reviewers: [], auto_merge: null, created: at, updated: at, closed: null,
      closed_by: null, looked: null, settled: false,
      // Every head it had, the newest first.
      versions: [{ sha: headSha, base: baseSha, at: this.now().toISOString() }],
    };
    repository.pulls.push(pull);
    return pull;
  }

  edit(repository, pull, who, { title, body, state, base }) {
    if (state === 'open' && pull.state !== 'open') {
      const head = pull.fork ? pull.headSha : this.git.head(repository.key, pull.head);
      if (pull.merged || !head) throw new Refusal('invalid', 'state cannot be changed. The head branch is gone or merged.', { field: 'state' });
      Object.assign(pull, { state: 'open', closed: null, closed_by: null, headSha: head, settled: false });
    }
    if (state === 'closed' && pull.state === 'open') this.close(pull, who);
    if (base !== undefined && base !== pull.base) {
      if (!this.git.head(repository.key, base)) throw new Refusal('invalid', 'Validation Failed', { field: 'base' });
      Object.assign(pull, { base, settled: false });
    }
    if (title !== undefined) pull.title = title;
    if (body !== undefined) pull.body = body ?? '';
    pull.updated = this.stamp();
    this.settle(repository);
  }

  close(pull, who) {
    const closed_by = who?.user.login ?? pull.author;
    Object.assign(pull, { state: 'closed', closed: this.stamp(), closed_by, auto_merge: null });
  }

  markMerged(pull, by, commit) {
    const at = this.stamp();
    Object.assign(pull, { state: 'closed', closed: at, merged: { at, by, commit }, auto_merge: null });
  }

  // Looks at git, and lets everything follow that follows by itself.
  settle(repository, who = null) {
    const heads = this.git.branches(repository.key);
    for (const pull of repository.pulls.filter((it) => it.state === 'open')) {
      const base = heads.get(pull.base);
      const head = pull.fork ? pull.headSha : heads.get(pull.head);
      if (pull.settled && head === pull.headSha && base === pull.baseSha) continue;
      const came = (commit) => base !== pull.baseSha && this.git.contains(repository.key, base, commit)
        && !this.git.contains(repository.key, pull.baseSha, commit);
      const arrived = base && [head, pull.headSha].find((it) => it && came(it));
      if (arrived) {
        pull.headSha = arrived;
        this.markMerged(pull, who?.user.login ?? pull.author, this.arrival(repository, base, arrived));
      } else if (!base || !head || this.git.ahead(repository.key, base, head) === 0) {
        this.close(pull, who);
      } else if (head !== pull.headSha) {
        this.headMoved(repository, pull, head);
      }
      pull.baseSha = base ?? pull.baseSha;
      pull.settled = true;
    }
    this.writeRules(repository);
    for (const pull of repository.pulls) {
      if (pull.state === 'open' && pull.auto_merge && !pull.draft && this.blockers(repository, pull, null).length === 0) {
        this.merge(repository, pull, { user: this.user(pull.auto_merge.by) }, { method: pull.auto_merge.method });
      }
    }
  }

  headMoved(repository, pull, head) {
    pull.headSha = head;
    pull.updated = this.stamp();
    pull.versions.unshift({ sha: head, base: pull.baseSha, at: this.now().toISOString() });
    for (const review of repository.reviews.filter((it) => it.number === pull.number && it.state === 'approved')) {
      if (this.rulesOf(repository, pull.base).some((it) => it.dismiss_stale)) review.state = 'dismissed';
    }
  }

  // The commit by which `commit` came into the first line of `base`.
  arrival(repository, base, commit) {
    const line = (this.git.run(repository.key, ['rev-list', '--first-parent', base]) ?? '').split('\n');
    if (line.includes(commit)) return commit;
    return line.filter((it) => this.git.contains(repository.key, it, commit)).pop() ?? commit;
  }

  // The last word of everybody who may say one.
  opinions(repository, pull) {
    const last = new Map();
    for (const it of repository.reviews.filter((it) => it.number === pull.number)) {
      if (it.state !== 'commented') last.set(it.by, it);
    }
    return [...last.values()].filter((it) => this.may(repository, { user: this.user(it.by) }, 'write'));
  }

  isMergeable(repository, pull) {
    return this.git.mergedTree(repository.key, pull.baseSha, pull.headSha) !== null;
  }

  // What stands against a merge, as words; `who` may stand above it.
  blockers(repository, pull, who) {
    const found = [];
    for (const rule of this.rulesOf(repository, pull.base).filter((it) => !who || !this.bypasses(repository, who, it))) {
      const opinions = this.opinions(repository, pull);
      const approvals = opinions.filter((it) => it.state === 'approved').length;
      if (rule.locked) found.push('Cannot update this protected ref. The branch is locked.');
      if (rule.queue) found.push('Changes must be made through the merge queue');
      if (approvals < (rule.approvals ?? 0)) found.push(`At least ${rule.approvals} approving review is required by reviewers with write access.`);
      if (rule.approvals && opinions.some((it) => it.state === 'changes_requested')) found.push('Changes were requested.');
      const missing = this.missingChecks(repository, rule, pull.headSha);
      for (const it of missing) found.push(`Required status check "${it.context}" is expected.`);
      if (rule.strict && !this.git.contains(repository.key, pull.headSha, pull.baseSha)) found.push('The head branch is not up to date with the base branch.');
    }
    return found;
  }

  // `sha`: the head that is meant. Answers the commit that the base got.
  merge(repository, pull, who, { method, sha, title, message }) {
    if (pull.state !== 'open') throw new Refusal('notReady', 'Pull Request is not mergeable');
    if (pull.draft) throw new Refusal('notReady', 'Pull Request is still a draft');
    if (sha && sha !== pull.headSha) throw new Refusal('moved', 'Head branch was modified. Review and try the merge again.');
    if (!repository.methods.includes(method)) throw new Refusal('notReady', `${method} merges are not allowed on this repository.`);
    const [first] = this.blockers(repository, pull, who);
    if (first) throw new Refusal('notReady', first);
    const words = { title: title || `${pull.title} (#${pull.number})`, message: message ?? '', who: person(who.user) };
    const made = this.git.merged(repository.key, pull.baseSha, pull.headSha, method, words);
    if (!made) throw new Refusal('notReady', 'Pull Request is not mergeable');
    if (!this.git.move(repository.key, pull.base, made, pull.baseSha)) {
      throw new Refusal('notReady', 'Base branch was modified. Review and try the merge again.');
    }
    pull.baseSha = made;
    this.markMerged(pull, who.user.login, made);
    if (repository.deletes_merged && !pull.fork) this.git.move(repository.key, pull.head, null, pull.headSha);
    this.settle(repository, who);
    return made;
  }

  addReview(repository, pull, who, { state, body = '', sha }) {
    if (pull.author === who.user.login && state !== 'commented') {
      throw new Refusal('invalid', state === 'approved' ? 'Can not approve your own pull request' : 'Can not request changes on your own pull request');
    }
    const review = { id: this.id(), number: pull.number, by: who.user.login, state, body, sha: sha ?? pull.headSha, at: this.stamp() };
    repository.reviews.push(review);
    pull.reviewers = pull.reviewers.filter((it) => it !== who.user.login);
    this.settle(repository);
    return review;
  }

  addComment(repository, number, who, body) {
    const at = this.stamp();
    const comment = { id: this.id(), number, by: who.user.login, body, created: at, updated: at };
    repository.comments.push(comment);
    return comment;
  }

  // Labels are found whatever their case; the first spelling stays.
  label(repository, name) {
    const key = name.toLowerCase();
    if (!repository.labels.has(key)) repository.labels.set(key, { id: this.id(), name, color: 'ededed', description: null });
    return repository.labels.get(key);
  }
}

export const person = (user) => ({ name: user.login, email: `${user.id}+${user.login.replace(/\W/g, '')}@example.com` });
const escaped = (text) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&');
