// What a test says to the stand-in itself, below `/_fake/`. Nothing here is any product's API.
//
//   POST users {login, admin}                         POST tokens {login, kind, scopes, grants, lifetime_s} -> {token}
//   POST apps {slug, public_key, owner, permissions, lifetime_s} -> {id, installation_id, login}
//   POST repositories {owner, name, members: {login: role}, files, ...settings} -> {clone_url, folder (of the bare repository)}
//   PATCH repositories/<owner>/<name> {settings; protection: [...]}     (see State.configure)
//   POST repositories/<owner>/<name>/commits {branch, from, file, text, message} -> {sha}
//   GET repositories/<owner>/<name>/branches          -> {name: sha};  DELETE the same {branch}
//   POST repositories/<owner>/<name>/checks {sha, app, name, status, conclusion}   a check run, as that app
//   POST repositories/<owner>/<name>/pulls {login, head, base, title, fork, sha}    also from a fork
//   POST repositories/<owner>/<name>/comments {login, number, bodies}               many at once
//   PATCH repositories/<owner>/<name>/pulls/<n> {auto_merge: {by, method} | null, draft}
//   POST faults, GET faults, DELETE faults            (see faults.mjs)
//   POST clock {offset_s}                             GET violations, GET journal, DELETE journal

import { Refusal, person } from './state.mjs';

const STATUS = { missing: 404, exists: 409, unauthenticated: 401, forbidden: 403 };

export async function control(server, method, path, body) {
  const [place, owner, name, what, number] = path.split('/').map(decodeURIComponent);
  try {
    if (place === 'repositories' && owner) {
      const repository = server.state.repositories.get(`${owner}/${name}`.toLowerCase());
      if (!repository) throw new Refusal('missing', `there is no repository ${owner}/${name}`);
      return inRepository(server, repository, `${method} ${what ?? ''}`.trim(), number, body);
    }
    return elsewhere(server, `${method} ${path}`, body);
  } catch (error) {
    if (error instanceof Refusal) return [STATUS[error.kind] ?? 400, { error: error.message }];
    return [400, { error: String(error.stack ?? error) }];
  }
}

function elsewhere(server, what, body) {
  const { state, faults } = server;
  switch (what) {
    case 'POST users':
      return [201, state.addUser(body)];
    case 'POST tokens':
      state.user(body.login);
      return [201, { token: state.addToken(server.forge.tokenOf(body)).token }];
    case 'POST apps': {
      const app = state.addApp(body);
      return [201, { id: app.id, installation_id: app.installation, login: app.user.login }];
    }
    case 'POST repositories': {
      const made = state.addRepository(server.forge.settingsOf?.(body) ?? body);
      return [201, { id: made.id, clone_url: `${server.url}/${made.key}.git`, folder: state.git.folder(made.key) }];
    }
    case 'POST faults':
      faults.add(body);
      return [201, {}];
    case 'GET faults':
      return [200, faults.shown()];
    case 'DELETE faults':
      faults.clear();
      return [200, {}];
    case 'POST clock':
      state.offset_ms = body.offset_s * 1000;
      return [200, { now: state.stamp() }];
    case 'GET violations':
      return [200, server.violations];
    case 'GET journal':
      return [200, server.journal];
    case 'DELETE journal':
      server.journal.length = 0;
      return [200, {}];
    default:
      throw new Refusal('missing', `there is no ${what} here`);
  }
}

function inRepository(server, repository, what, number, body) {
  const { state, forge } = server;
  const own = forge.control?.(what, { state, repository, body });
  if (own) return own;
  switch (what) {
    case 'PATCH':
      state.configure(repository, forge.settingsOf?.(body) ?? body);
      state.settle(repository);
      return [200, {}];
    case 'GET branches':
      return [200, Object.fromEntries(state.git.branches(repository.key))];
    case 'POST commits': {
      const who = body.login ? person(state.user(body.login)) : { name: 'Somebody', email: 'somebody@example.com' };
      const sha = state.git.write(repository.key, { from: repository.main, ...body, who });
      state.settle(repository);
      return [201, { sha }];
    }
    case 'DELETE branches': {
      const head = state.git.head(repository.key, body.branch);
      const gone = head !== null && state.git.move(repository.key, body.branch, null, head);
      state.settle(repository);
      return [200, { gone }];
    }
    case 'POST checks': {
      const app = [...state.apps.values()].find((it) => it.slug === body.app);
      if (!app) throw new Refusal('missing', `there is no app ${body.app}`);
      return [201, { id: state.addRun(repository, app, body).id }];
    }
    case 'POST comments':
      for (const text of body.bodies) state.addComment(repository, body.number, { user: state.user(body.login) }, text);
      return [201, {}];
    case 'POST pulls':
      return [201, { number: state.addPull(repository, { user: state.user(body.login) }, body).number }];
    case 'PATCH pulls': {
      const pull = state.pull(repository, number);
      for (const key of ['auto_merge', 'draft', 'unresolved']) if (key in body) pull[key] = body[key];
      state.settle(repository);
      return [200, { state: pull.state, merged: pull.merged }];
    }
    default:
      throw new Refusal('missing', `there is no ${what} in a repository`);
  }
}
