// The function, under the real @forge/api, with Bitbucket and mergegate standing in behind it:
// whatever happens, there is an answer, and it is mergegate's own or a refusal that says what to do.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { LIMITS, mergeCheck, run } from '../src/index.js';
import { App } from './forge.js';

const help = readFileSync(new URL('../../docs/install.md', import.meta.url), 'utf8');
const manifest = fileURLToPath(new URL('../manifest.yml', import.meta.url));
const workspace = '{b7ea02c9-0871-4858-a2a6-a190d7de977c}';
const repository = '{15a31549-1cff-45dc-9d0d-310114c5038b}';
const pullRequestPath = `/2.0/repositories/${workspace}/${repository}/pullrequests/7`;
const secret = 'secret-token-5f21';

const head = 'a'.repeat(12) + '1'.repeat(28);
const twin = 'a'.repeat(12) + '2'.repeat(28);
const older = 'b'.repeat(40);
const root = 'd'.repeat(40);

const event = {
  workspace: { uuid: workspace },
  repository: { uuid: repository },
  pullrequest: { id: 7 },
  trigger: { type: 'on-merge' },
  mergeProperties: { commitMessage: 'Merged by jane@example.com', mergeStrategy: 'squash' },
};

const branchPath = `/2.0/repositories/${workspace}/${repository}/refs/branches/feature`;
const commitsPath = `${pullRequestPath}/commits?pagelen=100`;

const pullRequest = {
  id: 7,
  state: 'OPEN',
  draft: false,
  updated_on: '2026-11-22T09:00:00.000001+00:00',
  title: 'Add widgets',
  author: { display_name: 'Jane Smith' },
  source: { commit: { hash: head.slice(0, 12) }, branch: { name: 'feature' }, repository: { uuid: repository, full_name: 'acme/widgets' } },
  destination: { commit: { hash: root.slice(0, 12) }, branch: { name: 'main' }, repository: { uuid: repository, full_name: 'acme/widgets' } },
};

const brought = {
  state: 'OPEN',
  draft: false,
  updated_on: '2026-11-22T09:00:00.000001+00:00',
  source: { commit: head, branch: 'feature', repository: { uuid: repository, full_name: 'acme/widgets' } },
  destination: { commit: root.slice(0, 12), branch: 'main', repository: { uuid: repository, full_name: 'acme/widgets' } },
};

// What is brought where the head isn't found.
const headless = { ...brought, source: { branch: 'feature', repository: brought.source.repository } };

const commit = (hash, ...parents) => ({ hash, parents: parents.map((parent) => ({ hash: parent })), message: 'secret plans' });
const page = (commits, next) => Response.json({ values: commits, next });
const passed = { success: true, message: 'AppVeyor build 1.0.1 passed (312 tests).' };
const never = () => new Promise(() => {});
const broken = () => Promise.reject(new TypeError(`fetch failed: ${secret}`));

let questions; // what mergegate was asked
let asked; // what Bitbucket was asked
let raw; // the same, escaped
let logged;
const log = {};

const gone = () => new Response('', { status: 404 });

// forge installs the app in a world with answers that differ from the proper ones.
function forge({ pr, branch, commits, gate } = {}) {
  const answer = (value, proper) => (typeof value === 'function' ? value() : value) ?? proper();
  new App(manifest, {
    bitbucket: async (address) => {
      const where = decodeURI(address);
      asked.push(where);
      raw.push(address);
      if (where === pullRequestPath) {
        return answer(pr, () => Response.json(pullRequest));
      }
      if (where.includes('/refs/branches/')) {
        return answer(branch, () => Response.json({ name: 'feature', target: { hash: head } }));
      }
      assert.ok(where.startsWith(commitsPath), where);
      return answer(typeof commits === 'function' ? commits(where) : commits, () => page([commit(head, older), commit(older, root)]));
    },
    remote: async (where, init, withSystemToken) => {
      questions.push({ where, method: init.method, type: init.headers['content-type'], body: JSON.parse(init.body), withSystemToken });
      return answer(gate, () => Response.json(passed));
    },
  }).install();
}

beforeEach(() => {
  questions = [];
  asked = [];
  raw = [];
  logged = [];
  for (const level of ['log', 'info', 'warn', 'error', 'debug']) {
    log[level] = console[level];
    console[level] = (...args) => logged.push(args.join(' '));
  }
});

afterEach(() => {
  Object.assign(console, log);
  const all = logged.join('\n');
  for (const word of [secret, 'jane', 'Jane', 'secret', 'feature', workspace, repository, head]) {
    assert.ok(!all.includes(word), `the log has ${word}: ${all}`);
  }
});

const refused = (answer, words) => {
  assert.equal(answer.success, false);
  assert.match(answer.message, words);
  assert.match(answer.message, /re-run this check/i);
  assert.ok(answer.message.length <= 255, answer.message);
  assert.doesNotMatch(answer.message, /[\r\n]/);
  assert.ok(!answer.message.includes(secret));
  const [beginning] = answer.message.split(/[.:]| within | \d/);
  assert.ok(help.includes(`| ${beginning}`), `docs/install.md has no trouble like this: ${beginning}`);
};

describe('the question', () => {
  test('has the event and the pull request with its full source commit', async () => {
    forge();
    assert.deepEqual(await run(event), passed);
    assert.deepEqual(questions, [{
      where: '/forge/merge-check', method: 'POST', type: 'application/json', withSystemToken: true,
      body: { ...event, pullRequest: brought },
    }]);
    assert.deepEqual(asked, [pullRequestPath, branchPath]);
    assert.deepEqual(logged, []);
  });

  test('says that it is of a draft', async () => {
    forge({ pr: Response.json({ ...pullRequest, draft: true }) });
    await run(event);
    assert.equal(questions[0].body.pullRequest.draft, true);
  });

  test('has a fork as the source repository', async () => {
    const fork = { uuid: '{0c3a7799-53ae-4a5b-9e7e-03338980abb5}', full_name: 'someone/widgets' };
    forge({ pr: Response.json({ ...pullRequest, source: { ...pullRequest.source, repository: fork } }) });
    await run(event);
    assert.deepEqual(questions[0].body.pullRequest.source.repository, fork);
    assert.deepEqual(questions[0].body.pullRequest.destination.repository, brought.destination.repository);
    assert.deepEqual(asked, [pullRequestPath, `/2.0/repositories/someone/${fork.uuid}/refs/branches/feature`]);
  });

  test('has the branch escaped', async () => {
    const name = 'feature/a b#%?é';
    forge({
      pr: Response.json({ ...pullRequest, source: { ...pullRequest.source, branch: { name } } }),
      branch: () => Response.json({ name, target: { hash: head } }),
    });
    await run(event);
    assert.equal(questions[0].body.pullRequest.source.commit, head);
    assert.equal(raw[1], branchPath.replace('feature', encodeURIComponent(name)));
  });

  // Where the source branch doesn't tell, the commits do.
  const branches = {
    'can not be read': () => new Response('', { status: 403 }),
    'is not accepted': () => new Response('', { status: 401 }),
    'is gone': gone,
    'is not told': () => new Response('', { status: 502 }),
    'is a page in HTML': () => new Response('<!DOCTYPE html>'),
    'is nothing': () => Response.json(null),
    'has moved on': () => Response.json({ name: 'feature', target: { hash: older } }),
    'is another one': () => Response.json({ name: 'main', target: { hash: twin } }),
    'has an abbreviated commit': () => Response.json({ name: 'feature', target: { hash: head.slice(0, 12) } }),
    'has no commit': () => Response.json({ name: 'feature', target: null }),
    'breaks off': broken,
    'is not answered': never,
  };
  for (const [name, branch] of Object.entries(branches)) {
    test(`has the commit although its branch ${name}`, async () => {
      forge({ branch });
      assert.deepEqual(await mergeCheck({ readMs: 1000, askMs: 1000 })(event), passed);
      assert.deepEqual(questions[0].body.pullRequest, brought);
      assert.deepEqual(asked, [pullRequestPath, branchPath, commitsPath]);
    });
  }

  const nowhere = {
    'a fork that was deleted': { repository: null },
    'a repository without a name': { repository: { uuid: '{0c3a7799-53ae-4a5b-9e7e-03338980abb5}' } },
    'a repository with a name that is a path': { repository: { uuid: '{0c3a7799-53ae-4a5b-9e7e-03338980abb5}', full_name: '../x' } },
    'no branch': { branch: null },
    'no name of a branch': { branch: { name: '..' } },
  };
  for (const [name, source] of Object.entries(nowhere)) {
    test(`has the commit of ${name}`, async () => {
      forge({ pr: Response.json({ ...pullRequest, source: { ...pullRequest.source, ...source } }) });
      await run(event);
      assert.equal(questions[0].body.pullRequest.source.commit, head);
      assert.deepEqual(asked, [pullRequestPath, commitsPath]);
    });
  }

  // How Bitbucket writes the link to the next page.
  const links = {
    'of the API': `https://api.bitbucket.org${encodeURI(commitsPath)}&page=2`,
    'of the site': `https://bitbucket.org/!api${encodeURI(commitsPath)}&page=2`,
    'of the host': `${encodeURI(commitsPath)}&page=2`,
    'of the same list': '?pagelen=100&page=2',
  };
  for (const [name, link] of Object.entries(links)) {
    test(`has the commit on a page with a link ${name}`, async () => {
      forge({ branch: gone, commits: (where) => (where.includes('page=2') ? page([commit(older, root)]) : page([commit(head, older)], link)) });
      await run(event);
      assert.equal(questions[0].body.pullRequest.source.commit, head);
      assert.deepEqual(asked.slice(2), [commitsPath, `${commitsPath}&page=2`]);
    });
  }

  // What is looked for in the commits, by what they are.
  const next = (where) => `https://api.bitbucket.org${where.split('&page=')[0]}&page=${(Number(new URLSearchParams(where).get('page')) || 1) + 1}`;
  const cases = {
    'on the second page': [(where) => (where.includes('page=2') ? page([commit(head)]) : page([commit(older)], next(where))), head],
    'on the tenth page': [(where) => (where.includes('page=10') ? page([commit(head)]) : page([commit(older)], next(where))), head],
    'beyond the tenth page': [(where) => (where.includes('page=11') ? page([commit(head)]) : page([commit(older)], next(where))), undefined],
    'with a twin below it': [() => page([commit(twin, root), commit(head, twin)]), head],
    'with a twin above it': [() => page([commit(head, root), commit(twin, head)]), twin],
    'with a twin on another page': [(where) => (where.includes('page=2') ? page([commit(head, twin)]) : page([commit(twin, root)], next(where))), head],
    'with an unrelated twin': [() => page([commit(head, root), commit(twin, root)]), undefined],
    'with a twin that is each other’s parent by 12': [() => page([commit(head, twin.slice(0, 12)), commit(twin, root)]), undefined],
    'below one that was pushed meanwhile': [() => page([commit(older, head), commit(head, root)]), undefined],
    'with an abbreviated one': [() => page([commit(head, root), commit(twin.slice(0, 12), head)]), undefined],
    'told twice': [() => page([commit(head, older), commit(head, older)]), head],
    'not there': [() => page([commit(older, root)]), undefined],
    'abbreviated there too': [() => page([commit(head.slice(0, 12), root)]), undefined],
    'in no list': [() => page([]), undefined],
  };
  for (const [name, [commits, expected]] of Object.entries(cases)) {
    test(`has the right commit when it is ${name}`, async () => {
      forge({ branch: gone, commits });
      assert.deepEqual(await run(event), passed);
      assert.deepEqual(questions[0].body.pullRequest, expected ? { ...brought, source: { ...brought.source, commit: expected } } : headless);
    });
  }

  test('has no commit when the source branch is gone', async () => {
    forge({ pr: Response.json({ ...pullRequest, source: { ...pullRequest.source, commit: null } }) });
    assert.deepEqual(await run(event), passed);
    assert.equal(questions[0].body.pullRequest.source.commit, undefined);
    assert.deepEqual(asked, [pullRequestPath]);
  });
});

describe('when Bitbucket does not tell, mergegate is asked without the pull request', () => {
  const failures = {
    'an unauthorised app': { pr: () => new Response('', { status: 401 }) },
    'a missing scope': { pr: () => new Response('', { status: 403 }) },
    'no such pull request': { pr: () => new Response('', { status: 404 }) },
    'too many requests': { pr: () => new Response('', { status: 429 }) },
    'an outage': { pr: () => new Response('Bad gateway', { status: 502 }) },
    'an outage with an old answer': { pr: () => Response.json(pullRequest, { status: 500 }) },
    'no connection': { pr: broken },
    'a platform that refuses': { pr: () => new Response('', { status: 403, headers: { 'forge-proxy-error': 'BLOCKED_EGRESS' } }) },
    'a page in HTML': { pr: () => new Response('<!DOCTYPE html>') },
    'null': { pr: () => Response.json(null) },
    'another pull request': { pr: () => Response.json({ ...pullRequest, id: 8 }) },
    'no source': { pr: () => Response.json({ id: 7 }) },
    'no answer': { pr: never },
    'an answer that breaks off': { pr: () => new Response(new ReadableStream({ start: (c) => c.error(new Error(secret)) })) },
  };
  for (const [name, world] of Object.entries(failures)) {
    test(name, async () => {
      forge(world);
      assert.deepEqual(await mergeCheck({ readMs: 50, askMs: 1000 })(event), passed);
      assert.deepEqual(questions[0].body, event);
      assert.match(logged.join(), /^reading the pull request failed: /);
    });
  }

  const commits = {
    'an outage': () => new Response('', { status: 503 }),
    'a fork that is gone': gone,
    'commits of another shape': () => Response.json({ values: 'none' }),
    'a next page that is elsewhere': () => page([commit(older)], 'https://elsewhere.example/page/2'),
    'a next page that is no address': () => page([commit(older)], 'http://['),
    'no answer': never,
  };
  for (const [name, answer] of Object.entries(commits)) {
    test(`or without its head: ${name}`, async () => {
      forge({ branch: gone, commits: answer });
      assert.deepEqual(await mergeCheck({ readMs: 200, askMs: 1000 })(event), passed);
      assert.deepEqual(questions[0].body.pullRequest, headless);
      assert.match(logged.join(), /reading the commits failed: /);
    });
  }

  test('and refuses if mergegate can not tell either', async () => {
    const unknown = { success: false, message: 'Bitbucket could not be reached. Re-run this check.' };
    forge({ pr: broken, gate: () => Response.json(unknown) });
    assert.deepEqual(await run(event), unknown);
  });
});

describe('what goes wrong with mergegate is a refusal with the next step', () => {
  const status = (code) => () => Response.json({ code: 'x', detail: secret }, { status: code });
  const failures = {
    'another question': [status(400), /same version/],
    'an unknown app': [status(401), /MERGEGATE_FORGE_APP_ID.*MERGEGATE_FORGE_ENVIRONMENTS.*clock/],
    'another workspace': [status(403), /install it for this one/],
    'not set up for Forge': [status(404), /MERGEGATE_FORGE_APP_ID.*BACKEND_URL/],
    'too many requests': [status(429), /status 429.*in a minute/],
    'an error': [status(500), /status 500.*in a minute/],
    'a proxy without it': [status(502), /status 502/],
    'draining': [status(503), /status 503/],
    'a redirect': [() => new Response(null, { status: 302, headers: { location: 'https://elsewhere.example' } }), /status 302/],
    'accepted for later': [() => Response.json(passed, { status: 202 }), /status 202/],
    'no connection': [broken, /couldn't reach mergegate/],
    'a rejection with nothing': [() => Promise.reject(undefined), /couldn't reach mergegate/],
    'a platform that gives up': [() => new Response('', { status: 504, headers: { 'forge-proxy-error': 'UPSTREAM_TIMEOUT' } }), /couldn't reach mergegate/],
    'an unknown remote': [() => new Response('', { status: 400, headers: { 'forge-proxy-error': 'INVALID_REMOTE' } }), /deploy it with BACKEND_URL/],
    'an answer that breaks off': [() => new Response(new ReadableStream({ start: (c) => c.error(new TypeError(secret)) })), /couldn't reach mergegate/],
    'no answer': [never, /didn't answer within 0.05 seconds/],
    'an answer that never ends': [() => new Response(new ReadableStream({})), /didn't answer within/],
    'a page in HTML': [() => new Response('<!DOCTYPE html>'), /BACKEND_URL/],
    'an empty answer': [() => new Response(''), /BACKEND_URL/],
    'null': [() => Response.json(null), /BACKEND_URL/],
    'a list': [() => Response.json([passed]), /BACKEND_URL/],
    'a yes that is a text': [() => Response.json({ success: 'true', message: 'x' }), /BACKEND_URL/],
    'a yes that is a number': [() => Response.json({ success: 1, message: 'x' }), /BACKEND_URL/],
    'a yes without a message': [() => Response.json({ success: true }), /BACKEND_URL/],
    'a message without a yes': [() => Response.json({ message: 'x' }), /BACKEND_URL/],
  };
  for (const [name, [gate, words]] of Object.entries(failures)) {
    test(name, async () => {
      forge({ gate });
      refused(await mergeCheck({ readMs: 1000, askMs: 50 })(event), words);
      assert.match(logged.join(), /^asking mergegate failed: /);
    });
  }

  test('a manifest without the remote', async () => {
    const app = new App(manifest, { bitbucket: broken, remote: never });
    app.manifest.remotes = [];
    app.install();
    refused(await run(event), /BACKEND_URL/);
  });

  for (const nothing of [undefined, null, {}, 'event', { workspace: null }]) {
    test(`an event that is ${JSON.stringify(nothing)}`, async () => {
      forge({ gate: status(400) });
      refused(await run(nothing), /same version/);
    });
  }
});

describe('the message', () => {
  const shown = async (message) => {
    forge({ gate: () => Response.json({ success: false, message }) });
    return (await run(event)).message;
  };

  test('is one line', async () => {
    assert.equal(await shown(' one\r\ntwo\u2028three\u0000\tfour '), 'one two three four');
  });

  test('has 255 characters at most', async () => {
    assert.equal(await shown('x'.repeat(255)), 'x'.repeat(255));
    assert.equal(await shown('😀'.repeat(256)), `${'😀'.repeat(254)}…`);
  });
});

test('the limits leave time to answer within Forge’s 25 seconds, and for mergegate’s 4', () => {
  assert.ok(LIMITS.readMs + LIMITS.askMs <= 20_000);
  assert.ok(LIMITS.askMs >= 2 * 4_000);
});

test('nothing is left running after the answer', async () => {
  forge();
  await run(event);
  assert.deepEqual(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout'), []);
});
