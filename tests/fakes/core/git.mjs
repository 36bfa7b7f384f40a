// Repositories of a stand-in: real bare git repositories, and git over smart HTTP through `git http-backend`.
//
// In: names, commits to make, requests below `/<owner>/<name>.git/`. Out: object ids, merges as the forges make them,
// bytes of the git protocol. Who may do what is decided by the caller; what a branch refuses is a hook of the
// repository, as on a real server.

import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

export const ZERO = '0'.repeat(40);
const WEB = { name: 'Forge', email: 'noreply@forge.invalid' };

// One line per rule: a full name or a pattern, the rule, and for `green` the commits that may be pushed.
const UPDATE_HOOK = `#!/bin/sh
[ -z "$FORGE_BYPASS" ] || exit 0
while read -r name rule commits; do
  case "$1" in $name) ;; *) continue ;; esac
  case "$rule" in
    closed) echo "protected branch: changes must be made through a pull request" >&2; exit 1 ;;
    kept) [ "$3" = ${ZERO} ] && { echo "protected branch: cannot be deleted" >&2; exit 1; } ;;
    forward) [ "$2" = ${ZERO} ] || git merge-base --is-ancestor "$2" "$3" 2>/dev/null ||
      { echo "protected branch: cannot be forced" >&2; exit 1; } ;;
    green) case " $commits " in *" $3 "*) ;; *) echo "protected branch: required checks are missing" >&2; exit 1 ;; esac ;;
  esac
done < "$GIT_DIR/rules"
`;

export class Git {
  constructor(root) {
    this.root = root;
    this.env = {
      PATH: process.env.PATH,
      HOME: root,
      LC_ALL: 'C.UTF-8',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
    };
  }

  folder(name) {
    return path.join(this.root, `${name}.git`);
  }

  create(name) {
    const folder = this.folder(name);
    fs.mkdirSync(path.dirname(folder), { recursive: true });
    execFileSync('git', ['init', '--quiet', '--bare', '--initial-branch=main', folder], { env: this.env });
    for (const [key, value] of [['http.receivepack', 'true'], ['receive.advertiseAtomic', 'true'],
      ['uploadpack.allowAnySHA1InWant', 'true'], ['gc.auto', '0'], ['core.fsync', 'none']]) {
      execFileSync('git', ['-C', folder, 'config', key, value], { env: this.env });
    }
    fs.writeFileSync(path.join(folder, 'rules'), '');
    fs.writeFileSync(path.join(folder, 'hooks', 'update'), UPDATE_HOOK, { mode: 0o755 });
  }

  rules(name, lines) {
    fs.writeFileSync(path.join(this.folder(name), 'rules'), lines.map((it) => `${it}\n`).join(''));
  }

  // Output without its last line end, or null when git says no.
  run(name, args, { input, who } = {}) {
    const person = who ?? WEB;
    const env = { ...this.env };
    for (const role of ['AUTHOR', 'COMMITTER']) {
      env[`GIT_${role}_NAME`] = (role === 'COMMITTER' ? WEB : person).name;
      env[`GIT_${role}_EMAIL`] = (role === 'COMMITTER' ? WEB : person).email;
    }
    if (person.date) env.GIT_AUTHOR_DATE = person.date;
    try {
      const options = { env, input, maxBuffer: 64 << 20, stdio: ['pipe', 'pipe', 'ignore'] };
      return execFileSync('git', ['-C', this.folder(name), ...args], options).toString().replace(/\n$/, '');
    } catch {
      return null;
    }
  }

  head(name, branch) {
    return this.run(name, ['rev-parse', '--verify', '--quiet', '--end-of-options', `refs/heads/${branch}^{commit}`]);
  }

  // The commit that some text names.
  commit(name, text) {
    const ids = [`${text}^{commit}`, `refs/heads/${text}^{commit}`];
    const all = ids.map((it) => this.run(name, ['rev-parse', '--verify', '--quiet', '--end-of-options', it]));
    return all.find(Boolean) ?? null;
  }

  branches(name) {
    const text = this.run(name, ['for-each-ref', '--format=%(refname:lstrip=2) %(objectname)', 'refs/heads']);
    return new Map((text || '').split('\n').filter(Boolean).map((it) => it.split(' ')));
  }

  contains(name, inside, commit) {
    return this.run(name, ['merge-base', '--is-ancestor', commit, inside]) !== null;
  }

  ahead(name, base, head) {
    return Number(this.run(name, ['rev-list', '--count', `${base}..${head}`]) ?? 0);
  }

  // Moves a branch if it is still where it was; null deletes it.
  move(name, branch, to, from) {
    const ref = `refs/heads/${branch}`;
    if (to === null) return this.run(name, ['update-ref', '-d', ref, from]) !== null;
    return this.run(name, ['update-ref', ref, to, from ?? ZERO]) !== null;
  }

  // One commit that changes one file, on a branch that is made from `from` when it is not there.
  write(name, { branch, from, file, text, message, who }) {
    const old = this.head(name, branch);
    const parent = old ?? (from ? this.commit(name, from) : null);
    const blob = this.run(name, ['hash-object', '-w', '--stdin'], { input: text });
    const index = path.join(this.folder(name), `index-${process.hrtime.bigint()}`);
    const env = { ...this.env, GIT_INDEX_FILE: index };
    const git = (...args) => execFileSync('git', ['-C', this.folder(name), ...args], { env }).toString().trim();
    if (parent) git('read-tree', parent);
    git('update-index', '--add', '--cacheinfo', `100644,${blob},${file}`);
    const tree = git('write-tree');
    fs.rmSync(index, { force: true });
    const made = this.seal(name, tree, parent ? [parent] : [], message ?? `Change ${file}`, who);
    return this.move(name, branch, made, old) ? made : null;
  }

  seal(name, tree, parents, message, who) {
    const args = ['commit-tree', tree, ...parents.flatMap((it) => ['-p', it])];
    return this.run(name, args, { input: message, who });
  }

  tree(name, commit) {
    return this.run(name, ['rev-parse', `${commit}^{tree}`]);
  }

  // The tree of both, or null when they conflict.
  mergedTree(name, ours, theirs) {
    const text = this.run(name, ['merge-tree', '--write-tree', ours, theirs]);
    return text ? text.split('\n')[0] : null;
  }

  // The commit that a base branch would get, or null when there is a conflict.
  merged(name, base, head, method, { title, message, who }) {
    const words = [title, message].filter(Boolean).join('\n\n');
    if (method === 'rebase') return this.rebased(name, base, head);
    if (method === 'fast-forward') return this.contains(name, head, base) ? head : null;
    const tree = this.mergedTree(name, base, head);
    if (!tree) return null;
    if (method === 'merge') return this.seal(name, tree, [base, head], words, who);
    const squashed = this.seal(name, tree, [base], words, who);
    return method === 'squash-merge' ? this.seal(name, tree, [base, squashed], words, who) : squashed;
  }

  rebased(name, base, head) {
    const list = this.run(name, ['rev-list', '--reverse', '--no-merges', `${base}..${head}`]) || '';
    let onto = base;
    for (const commit of list.split('\n').filter(Boolean)) {
      // Three commits that give the merge the base it needs.
      const common = this.seal(name, this.tree(name, `${commit}^`), [], 'common');
      const ours = this.seal(name, this.tree(name, onto), [common], 'ours');
      const theirs = this.seal(name, this.tree(name, commit), [common], 'theirs');
      const tree = this.mergedTree(name, ours, theirs);
      if (!tree) return null;
      const [author, email, date, ...body] =
        this.run(name, ['show', '-s', '--format=%an%n%ae%n%aI%n%B', commit]).split('\n');
      onto = this.seal(name, tree, [onto], body.join('\n'), { name: author, email, date });
    }
    return onto;
  }

  // Answers one request of the git protocol; `done` is called when the program has ended.
  serve(request, response, { pathInfo, query, login, bypass, done }) {
    const env = {
      ...this.env,
      GIT_PROJECT_ROOT: this.root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: pathInfo,
      QUERY_STRING: query,
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      GIT_PROTOCOL: request.headers['git-protocol'] ?? '',
      REMOTE_ADDR: '127.0.0.1',
      GIT_COMMITTER_NAME: login || 'anonymous',
      GIT_COMMITTER_EMAIL: 'noreply@forge.invalid',
      ...(login && { REMOTE_USER: login }),
      ...(bypass && { FORGE_BYPASS: '1' }),
    };
    const child = spawn('git', ['http-backend'], { env, stdio: ['pipe', 'pipe', 'ignore'] });
    request.pipe(child.stdin);
    child.stdin.on('error', () => {});
    let head = Buffer.alloc(0);
    let begun = false;
    child.stdout.on('data', (bytes) => {
      if (begun) return void response.write(bytes);
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      begun = true;
      const fields = head.subarray(0, end).toString().split('\r\n').map((it) => it.split(/: (.*)/s));
      const status = fields.find(([key]) => key.toLowerCase() === 'status');
      for (const [key, value] of fields) if (key.toLowerCase() !== 'status') response.setHeader(key, value);
      response.writeHead(status ? Number.parseInt(status[1], 10) : 200);
      response.write(head.subarray(end + 4));
    });
    child.on('close', () => {
      done();
      if (!begun) response.writeHead(500);
      response.end();
    });
  }
}
