// The function behind both merge checks. It reads the pull request from Bitbucket as the app, asks
// mergegate whether it may be merged, and returns mergegate's answer. Whatever goes wrong, the answer
// is a refusal that says what to do: a function that throws shows as a failed check without a word.

import { asApp, assumeTrustedRoute, invokeRemote, route } from '@forge/api';

// Forge ends a function after 25 seconds. mergegate answers within 4 wherever it is reached.
export const LIMITS = { readMs: 8_000, askMs: 10_000 };

const REMOTE = 'backend'; // the remote's key in manifest.yml
const MAX_PAGES = 10; // of 100 commits each; mergegate keeps what it reads, and reads on
const MAX_MESSAGE = 255;

/** The handler in manifest.yml: Forge's event in, { success, message } out. It never throws. */
export const run = mergeCheck();

export function mergeCheck(limits = LIMITS) {
  return async (event) => {
    const pullRequest = await attempt('reading the pull request', () => readPullRequest(event, limits.readMs));
    try {
      return await within(limits.askMs, ask(event, pullRequest));
    } catch (error) {
      warn('asking mergegate', error);
      return { success: false, message: explain(error, limits) };
    }
  };
}

// attempt answers undefined where Bitbucket doesn't: mergegate then reads what is missing itself,
// with the app's token that Forge sends along or with its own, and refuses if it can't either.
async function attempt(doing, read) {
  try {
    return await read();
  } catch (error) {
    warn(doing, error);
    return undefined;
  }
}

async function readPullRequest({ workspace, repository, pullrequest }, ms) {
  const end = Date.now() + ms;
  const address = route`/2.0/repositories/${workspace.uuid}/${repository.uuid}/pullrequests/${pullrequest.id}`;
  const { id, state, draft, updated_on, source, destination } = await within(ms, get(address));
  if (id !== pullrequest.id) {
    throw new Failure('another pull request');
  }
  const repositories = { own: { workspace: workspace.uuid, uuid: repository.uuid }, source: source.repository };
  return {
    state,
    draft,
    updated_on,
    source: {
      commit: await fullCommit(address, repositories, source, () => end - Date.now()),
      branch: source.branch?.name,
      repository: reference(source.repository),
    },
    destination: {
      commit: destination.commit?.hash,
      branch: destination.branch?.name,
      repository: reference(destination.repository),
    },
  };
}

const reference = (repository) => ({ uuid: repository?.uuid, full_name: repository?.full_name });

// fullCommit finds the 40 characters of a commit that Bitbucket abbreviates to 12: the source branch
// names them, and where that can't be read, or has moved, the commits do. undefined where neither tells.
async function fullCommit(pullRequest, repositories, { commit, branch }, left) {
  const short = commit?.hash;
  if (!short) {
    return undefined; // the branch is gone
  }
  const named = await attempt('reading the source branch', () => within(left() / 2, branchHead(repositories, branch?.name)));
  if (named?.startsWith(short)) {
    return named;
  }
  return attempt('reading the commits', () => within(left(), headAmongCommits(pullRequest, short)));
}

// branchHead answers undefined where there is nothing to ask for: a fork that was deleted. A fork is
// asked for by its UUID: its name may have been taken over by another repository.
async function branchHead({ own, source }, branch) {
  if (!source?.uuid || !branch || branch === '.' || branch === '..') {
    return undefined;
  }
  const workspace = source.uuid === own.uuid ? own.workspace : source.full_name?.split('/')[0];
  if (!workspace) {
    return undefined;
  }
  const repository = route`/2.0/repositories/${workspace}/${source.uuid}`;
  const { name, target } = await get(assumeTrustedRoute(`${repository.value}/refs/branches/${encodeURIComponent(branch)}`));
  return name === branch && isFull(target.hash) ? target.hash : undefined;
}

// headAmongCommits reads all commits, for an author can make two that share 12 characters: the head is
// the one that begins with short and is no other's parent.
async function headAmongCommits(pullRequest, short) {
  const commits = new Map();
  let next = route`${pullRequest}/commits?pagelen=100`;
  for (let page = 0; next; page++) {
    if (page === MAX_PAGES) {
      return undefined;
    }
    const answer = await get(next);
    answer.values.forEach(({ hash, parents }) => commits.set(hash, parents.map((parent) => parent.hash)));
    next = answer.next && linked(answer.next, next);
  }
  return pickHead(commits, short);
}

// linked answers where a link to the next page leads. Bitbucket writes them to api.bitbucket.org, to
// bitbucket.org/!api and relative ones: only what begins with /2.0 is used.
function linked(link, from) {
  const { pathname, search } = new URL(link, `https://api.bitbucket.org${from.value}`);
  const start = pathname.indexOf('/2.0/');
  if (start < 0) {
    throw new Failure('a page elsewhere');
  }
  return assumeTrustedRoute(pathname.slice(start) + search);
}

// pickHead answers the only commit that begins with short and is no other's parent; commits has the
// parents of each. An abbreviated commit could be any: then it answers none.
function pickHead(commits, short) {
  if (![...commits.keys()].every(isFull)) {
    return undefined;
  }
  const parents = [...commits.values()].flat();
  const [head, ...others] = [...commits.keys()].filter((hash) => hash.startsWith(short) && !parents.some((parent) => hash.startsWith(parent)));
  return others.length > 0 ? undefined : head;
}

const isFull = (hash) => /^[0-9a-f]{40}$/.test(hash);

async function get(address) {
  const response = await asApp().requestBitbucket(address, { headers: { accept: 'application/json' } });
  if (!response.ok) {
    throw new Failure('status', response.status);
  }
  return response.json();
}

async function ask(event, pullRequest) {
  const response = await invokeRemote(REMOTE, {
    path: '/forge/merge-check',
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ ...event, pullRequest }),
  });
  if (response.status !== 200) {
    throw new Failure('status', response.status);
  }
  return understand(await response.json());
}

function understand(answer) {
  if (typeof answer?.success !== 'boolean' || typeof answer.message !== 'string') {
    throw new Failure('not an answer');
  }
  return { success: answer.success, message: oneLine(answer.message) };
}

function oneLine(text) {
  const characters = [...text.replace(/[\s\p{C}]+/gu, ' ').trim()];
  return characters.length > MAX_MESSAGE ? `${characters.slice(0, MAX_MESSAGE - 1).join('')}…` : characters.join('');
}

// explain says what to do about a failure. Nothing of the failure's own text is shown.
function explain(error, limits) {
  const { name, reason, status } = error ?? {};
  if (name === 'INVALID_REMOTE_ERR' || name === 'REQUEST_EGRESS_ALLOWLIST_ERR') {
    return 'This app isn\'t allowed to call mergegate. Ask your mergegate admin to deploy it with BACKEND_URL set, and a workspace admin to approve the new version, then re-run this check.';
  }
  switch (name === 'SyntaxError' ? 'not an answer' : reason) {
    case 'too late':
      return `mergegate didn't answer within ${limits.askMs / 1000} seconds. Re-run this check in a minute. If this continues, ask your mergegate admin.`;
    case 'not an answer':
      return 'The server at the app\'s BACKEND_URL isn\'t mergegate. Ask your mergegate admin to deploy the app with the right BACKEND_URL, then re-run this check.';
    case 'status':
      return explainStatus(status);
    default:
      return 'The app couldn\'t reach mergegate. Re-run this check in a minute. If this continues, ask your mergegate admin.';
  }
}

function explainStatus(status) {
  switch (status) {
    case 400:
      return 'mergegate didn\'t understand the question. Ask your mergegate admin to deploy the app and mergegate in the same version, then re-run this check.';
    case 401:
      return 'mergegate doesn\'t accept this app. Ask your mergegate admin to check MERGEGATE_FORGE_APP_ID, MERGEGATE_FORGE_ENVIRONMENTS and the clock (its log says which), then re-run this check.';
    case 403:
      return 'mergegate refused: the app is installed for another workspace. Ask your mergegate admin to install it for this one, then re-run this check.';
    case 404:
      return 'mergegate doesn\'t answer merge checks. Ask your mergegate admin to check MERGEGATE_FORGE_APP_ID and the app\'s BACKEND_URL, then re-run this check.';
    default:
      return `mergegate answered with HTTP status ${status}. Re-run this check in a minute. If this continues, ask your mergegate admin.`;
  }
}

class Failure extends Error {
  constructor(reason, status) {
    super(reason);
    this.reason = reason;
    this.status = status;
  }
}

async function within(ms, promise) {
  let timer;
  const tooLate = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Failure('too late')), ms);
  });
  try {
    return await Promise.race([promise, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

// warn logs what failed, and nothing that was said: messages of errors hold addresses, and bodies
// hold names and tokens.
function warn(doing, error) {
  const { name, reason, status } = error ?? {};
  console.warn(`${doing} failed: ${[name, reason, status].filter(Boolean).join(' ')}`);
}
