// Both manifests pass Atlassian's own validator without a warning, and with any of the mistakes that
// it is known to find they don't.

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ProcessorBuilder, ValidationTypes } from '@forge/manifest';
import { parse, stringify } from 'yaml';

const app = fileURLToPath(new URL('..', import.meta.url));
const mistakes = path.join(app, 'test', 'testdata', 'mistakes');
const manifests = ['manifest.yml', 'manifest.remote.yml'];
const backend = 'https://gate.example.com';

// The whole manifest, the scopes of its events, and what functions may ask of remotes.
const kinds = [ValidationTypes.FULL, ValidationTypes.PRODUCT_TRIGGER, ValidationTypes.FORGE_REMOTE_COMPUTE];

// faults answers what the validator says of a manifest in an app of its own.
async function faults(content, url = backend) {
  const folder = mkdtempSync(path.join(tmpdir(), 'manifest-'));
  const before = process.cwd();
  try {
    cpSync(path.join(app, 'src'), path.join(folder, 'src'), { recursive: true });
    writeFileSync(path.join(folder, 'manifest.yml'), content);
    process.chdir(folder);
    delete process.env.BACKEND_URL;
    if (url) {
      process.env.BACKEND_URL = url;
    }
    const said = new Set();
    for (const kind of kinds) {
      const { success, errors = [] } = await ProcessorBuilder.instance().withValidation(kind).build().process();
      assert.equal(success, errors.length === 0);
      errors.forEach(({ level, message }) => said.add(`${level}: ${message}`));
    }
    return [...said];
  } finally {
    process.chdir(before);
    rmSync(folder, { recursive: true });
  }
}

const read = (...parts) => readFileSync(path.join(...parts), 'utf8');

for (const name of manifests) {
  test(`${name} is valid`, async () => {
    assert.deepEqual(await faults(read(app, name)), []);
  });

  test(`${name} can't be deployed without BACKEND_URL`, async () => {
    const said = await faults(read(app, name), '').catch((error) => [error.message]);
    assert.match(said.join('\n'), /BACKEND_URL/);
  });
}

test('both manifests say the same but for the function', () => {
  const [own, remote] = manifests.map((name) => parse(read(app, name)));
  for (const check of own.modules['bitbucket:mergeCheck']) {
    delete check.function;
  }
  for (const check of remote.modules['bitbucket:mergeCheck']) {
    delete check.endpoint;
  }
  delete own.modules.function;
  delete own.remotes[0].auth;
  remote.modules.endpoint = remote.modules.endpoint.filter(({ key }) => key !== 'merge-check');
  assert.deepEqual(own, remote);
});

// What the validator says of each file in testdata/mistakes.
const said = {
  'n1-usertoken.yml': ["error: Bitbucket module: 'appveyor-pr-build' using remote endpoint: 'merge-check' only supports appSystemToken. Update appUserToken to false."],
  'n2-noroute.yml': ["error: Bitbucket module: 'appveyor-pr-build' using remote endpoint: 'merge-check' requires 'route' parameter."],
  'n3-noscope.yml': ["error: bitbucket:mergeCheck module 'appveyor-pr-build' requires 'read:pullrequest:bitbucket' scope(s)."],
  'n4-i18n.yml': ['error: bitbucket:mergeCheck property name must be string', "error: bitbucket:mergeCheck required properties are 'name, triggers, function, key' or 'name, triggers, endpoint, key'"],
  'n5-badtrigger.yml': ["error: bitbucket:mergeCheck triggers property 1 'on-build-status' allowed values are 'on-merge', 'on-code-pushed', 'on-reviewer-status-changed'", "error: bitbucket:mergeCheck required properties are 'name, triggers, function, key' or 'name, triggers, endpoint, key'"],
  'n7-longremote.yml': ["error: remotes property key 'backend-longer-than-23-characters' must NOT have more than 23 characters"],
  'n8-longfunction.yml': ['error: The function key exceeds 23 characters: ‘check-function-longer-than-23’.'],
  'n9-strfetch.yml': ["warning: There are deprecated egress permission entries for 'fetch.backend' in the manifest.yml file"],
};

for (const [file, expected] of Object.entries(said)) {
  test(`${file} is refused`, async () => {
    assert.deepEqual(await faults(read(mistakes, file)), expected);
  });
}

// The same mistakes, made in our own manifests.
const made = [
  ['manifest.remote.yml', 'a person’s token', /only supports appSystemToken/, (m) => {
    endpoint(m).auth.appUserToken = { enabled: true };
  }],
  ['manifest.remote.yml', 'no route', /requires 'route' parameter/, (m) => {
    delete endpoint(m).route;
  }],
  ['manifest.remote.yml', 'a translated name', /property name must be string/, (m) => {
    m.modules['bitbucket:mergeCheck'][0].name = { i18n: 'a.b' };
  }],
  ['manifest.yml', 'a function key that is too long', /function key exceeds 23 characters/, (m) => {
    m.modules.function[0].key = 'check-function-longer-than-23';
    m.modules['bitbucket:mergeCheck'].forEach((check) => { check.function = 'check-function-longer-than-23'; });
  }],
  ...manifests.flatMap((name) => [
    [name, 'no scope for pull requests', /requires 'read:pullrequest:bitbucket'/, (m) => {
      m.permissions.scopes = m.permissions.scopes.filter((scope) => scope !== 'read:pullrequest:bitbucket');
    }],
    [name, 'no scope for pushes', /read:repository:bitbucket/, (m) => {
      m.permissions.scopes = m.permissions.scopes.filter((scope) => scope !== 'read:repository:bitbucket');
    }],
    [name, 'an unknown trigger', /allowed values are 'on-merge'/, (m) => {
      m.modules['bitbucket:mergeCheck'][0].triggers = ['on-build-status'];
    }],
    [name, 'a remote key that is too long', /must NOT have more than 23 characters/, (m) => {
      m.remotes[0].key = 'backend-longer-than-23-characters';
      m.modules.endpoint.forEach((e) => { e.remote = m.remotes[0].key; });
    }],
    [name, 'an old egress entry', /deprecated egress permission entries/, (m) => {
      m.permissions.external = { fetch: { backend: [backend] } };
    }],
    [name, 'an endpoint of no remote', /backend/, (m) => {
      m.remotes[0].key = 'elsewhere';
    }],
  ]),
];

const endpoint = (manifest) => manifest.modules.endpoint.find(({ key }) => key === 'merge-check');

for (const [name, mistake, expected, make] of made) {
  test(`${name} with ${mistake} is refused`, async () => {
    const manifest = parse(read(app, name));
    make(manifest);
    assert.match((await faults(stringify(manifest))).join('\n'), expected);
  });
}
