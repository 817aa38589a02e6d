// Invokes a module of the app as Forge does, over real HTTP, and prints what came of it as JSON:
//   node test/invoke.js MANIFEST MODULE < event.json
// A merge check's MODULE may be its trigger. The environment tells where things are:
//   BITBUCKET_URL, BITBUCKET_TOKEN  Bitbucket's API, and the app's token for it
//   BACKEND_URL                     the remote
//   TOKEN_URL                       answers a new invocation token

import { text } from 'node:stream/consumers';
import { App } from './forge.js';

const { BITBUCKET_URL, BITBUCKET_TOKEN, BACKEND_URL, TOKEN_URL } = process.env;

const [manifest, wanted] = process.argv.slice(2);

const app = new App(manifest, {
  bitbucket: (where, init) =>
    fetch(BITBUCKET_URL + where, { ...init, headers: { ...init.headers, authorization: `Bearer ${BITBUCKET_TOKEN}` } }),
  remote: async (where, init, withSystemToken) => {
    const token = await (await fetch(TOKEN_URL)).text();
    const headers = { ...init.headers, authorization: `Bearer ${token}` };
    if (withSystemToken) {
      headers['x-forge-oauth-system'] = BITBUCKET_TOKEN;
    }
    return fetch(BACKEND_URL + where, { ...init, headers, redirect: 'manual' });
  },
});

const key = wanted.startsWith('on-') ? app.mergeCheck(wanted) : wanted;
const result = await app.invoke(key, JSON.parse(await text(process.stdin)));
const shown = result instanceof Response ? { status: result.status, ...(await result.json()) } : result;
process.stdout.write(JSON.stringify(shown), () => process.exit()); // whatever still waits for an answer
