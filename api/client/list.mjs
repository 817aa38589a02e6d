// Lists a repository's builds with the generated client, page by page: node list.mjs URL TOKEN WORKSPACE REPO
import { listBuilds } from './generated/client.mjs'

const [baseUrl, token, workspace, repo_slug] = process.argv.slice(2)
let page
do {
	const { data, error, response } = await listBuilds({
		baseUrl, auth: token, path: { workspace, repo_slug }, query: { pagelen: 1, page },
	})
	if (error) throw new Error(`${response?.status}: ${error.code}: ${error.detail}`)
	for (const build of data.values) console.log(build.build_id, build.state, build.source.commit)
	page = data.next && new URL(data.next).searchParams.get('page')
} while (page)
