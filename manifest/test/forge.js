// A stand-in for the Forge platform, below @forge/api, which is the real one: what that library asks
// of the platform, and which module of a manifest is invoked how.

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import path from 'node:path';
import { parse } from 'yaml';

/**
 * The app of a manifest, installed in a world:
 *   bitbucket(path, init)  answers a request to Bitbucket's API, as the app
 *   remote(path, init, withSystemToken)  answers a request to the remote
 */
export class App {
  constructor(manifestFile, world) {
    this.folder = path.dirname(manifestFile);
    this.manifest = parse(readFileSync(manifestFile, 'utf8'));
    this.world = world;
  }

  /** Invokes a module by its key with an event; answers the function's result or the endpoint's response. */
  async invoke(moduleKey, event) {
    const module = Object.values(this.manifest.modules).flat().find(({ key }) => key === moduleKey);
    return module.function ? this.#callFunction(module.function, event) : this.#callEndpoint(module.endpoint, event);
  }

  /** The key of the merge check that a trigger runs. */
  mergeCheck(trigger) {
    return this.manifest.modules['bitbucket:mergeCheck'].find(({ triggers }) => triggers.includes(trigger)).key;
  }

  async #callFunction(key, event) {
    const [file, name] = this.#find('function', key).handler.split('.');
    this.install();
    const module = await import(pathToFileURL(path.join(this.folder, 'src', `${file}.js`)));
    return module[name](event);
  }

  #callEndpoint(key, event) {
    const { remote, route, auth } = this.#find('endpoint', key);
    this.#remote(remote);
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(event) };
    return this.world.remote(route.path, init, auth?.appSystemToken?.enabled);
  }

  /** Makes this the app whose platform @forge/api talks to. */
  install() {
    globalThis.__forge_fetch__ = async (target, where, init) => {
      if (target.type === 'frc') {
        const remote = this.#remote(target.remote);
        return remote?.operations.includes('compute')
          ? this.world.remote(where, init, remote.auth?.appSystemToken?.enabled)
          : new Response('', { status: 400, headers: { 'forge-proxy-error': 'INVALID_REMOTE' } });
      }
      if (target.provider !== 'app' || target.remote !== 'bitbucket') {
        throw new Error('only Bitbucket is asked, and only as the app');
      }
      return this.world.bitbucket(where, init);
    };
  }

  #find(kind, wanted) {
    return this.manifest.modules[kind].find(({ key }) => key === wanted);
  }

  #remote(wanted) {
    return this.manifest.remotes.find(({ key }) => key === wanted);
  }
}
