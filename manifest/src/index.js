// The function behind both merge checks. It reads the pull request from Bitbucket as the app, asks
// mergegate whether it may be merged, and returns mergegate's answer. Whatever goes wrong, the answer
// is a refusal that says what to do: a function that throws shows as a failed check without a word.

import { asApp, invokeRemote, route, routeFromAbsolute } from '@forge/api';

// Forge ends a function after 25 seconds. mergegate answers within 4 wherever it is reached.
export const LIMITS = { readMs: 8_000, askMs: 10_000 };

const REMOTE = 'backend'; // the remote's key in manifest.yml
const MAX_PAGES = 10; // of 100 commits each; mergegate looks no further either
const MAX_MESSAGE = 255;

/** The handler in manifest.yml: Forge's event in, { success, message } out. It never throws. */
export const run = mergeCheck();

export function mergeCheck(limits = LIMITS) {
  return async (event) => {
    const pullRequest = await tryToRead(event, limits.readMs);
    try {
      return await within(limits.askMs, ask(event, pullRequest));
    } catch (error) {
      warn('asking mergegate', error);
      return { success: false, message: explain(error, limits) };
    }
  };
}

// tryToRead answers undefined where Bitbucket doesn't tell: mergegate then reads the pull request
// itself, with the app's token that Forge sends along or with its own, and refuses if it can't either.
async function tryToRead(event, ms) {
  try {
    return await within(ms, readPullRequest(event));
  } catch (error) {
    warn('reading the pull request', error);
    return undefined;
  }
}

async function readPullRequest({ workspace, repository, pullrequest }) {
  const address = route`/2.0/repositories/${workspace.uuid}/${repository.uuid}/pullrequests/${pullrequest.id}`;
  const { id, state, source, destination } = await get(address);
  if (id !== pullrequest.id) {
    throw new Failure('another pull request');
  }
  return {
    state,
    source: {
      commit: await fullCommit(address, source.commit?.hash),
      branch: source.branch?.name,
      repository: { uuid: source.repository?.uuid, full_name: source.repository?.full_name },
    },
    destination: { commit: destination.commit?.hash, branch: destination.branch?.name },
  };
}

// fullCommit finds the 40 characters of a commit that Bitbucket abbreviates to 12. An author can make
// two commits that share those, so all commits are looked at; undefined where they don't tell.
async function fullCommit(pullRequest, short) {
  if (!short) {
    return undefined; // the branch is gone
  }
  const commits = new Map();
  let next = route`${pullRequest}/commits?pagelen=100`;
  for (let page = 0; next; page++) {
    if (page === MAX_PAGES) {
      return undefined;
    }
    const answer = await get(next);
    answer.values.forEach(({ hash, parents }) => commits.set(hash, parents.map((parent) => parent.hash)));
    next = answer.next && routeFromAbsolute(answer.next);
  }
  return pickHead(commits, short);
}

// pickHead answers the only commit that begins with short; of several, the only one that is no
// other's parent. commits has the parents of each.
function pickHead(commits, short) {
  const fit = [...commits.keys()].filter((hash) => /^[0-9a-f]{40}$/.test(hash) && hash.startsWith(short));
  const parents = [...commits.values()].flat();
  const tips = fit.filter((hash) => !parents.some((parent) => hash.startsWith(parent)));
  const [head, ...others] = fit.length > 1 ? tips : fit;
  return others.length > 0 ? undefined : head;
}

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
    return 'This app may not ask mergegate. Deploy it with BACKEND_URL set, let a workspace admin approve the new version, then re-run this check.';
  }
  switch (name === 'SyntaxError' ? 'not an answer' : reason) {
    case 'too late':
      return `mergegate did not answer within ${limits.askMs / 1000} seconds. Re-run this check in a minute; if it lasts, tell who runs mergegate.`;
    case 'not an answer':
      return 'What answers at the app\'s BACKEND_URL is not mergegate. Deploy the app with the right BACKEND_URL, then re-run this check.';
    case 'status':
      return explainStatus(status);
    default:
      return 'mergegate could not be reached. Re-run this check in a minute; if it lasts, tell who runs mergegate.';
  }
}

function explainStatus(status) {
  switch (status) {
    case 400:
      return 'mergegate did not understand the question. Deploy the app and mergegate in the same version, then re-run this check.';
    case 401:
      return 'mergegate does not accept this app. Check its MERGEGATE_FORGE_APP_ID, MERGEGATE_FORGE_ENVIRONMENTS and clock; its log says which. Then re-run this check.';
    case 403:
      return 'mergegate refused: the app is installed for another workspace. Install it again for this one, then re-run this check.';
    case 404:
      return 'mergegate does not answer merge checks. Set its MERGEGATE_FORGE_APP_ID, or deploy the app with the right BACKEND_URL, then re-run this check.';
    default:
      return `mergegate answered with HTTP status ${status}. Re-run this check in a minute; if it lasts, tell who runs mergegate.`;
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
