-- +goose Up

-- Facts about pull requests are ordered by Bitbucket's own times. A push webhook has
-- none: its times here are those of its arrival.
ALTER TABLE pull_request_heads ADD COLUMN untimed boolean NOT NULL DEFAULT false;
ALTER TABLE branch_heads ADD COLUMN untimed boolean NOT NULL DEFAULT false;
-- The head as the newest event has it, abbreviated; '' where it was read in full.
ALTER TABLE pull_requests ADD COLUMN source_commit text NOT NULL DEFAULT '';

-- What has to be looked at again: how often that was wanted, for which of these times
-- the newest job was queued, and how many a job had seen when it began to look. A job
-- is queued where none is live; one that ends while more was wanted than it has seen
-- looks once more.
CREATE TABLE looks (
    kind      text NOT NULL CHECK (kind IN ('pull_request', 'heads', 'build', 'repository', 'repository_name')),
    subject   text NOT NULL,
    wanted    bigint NOT NULL DEFAULT 1,
    turn      bigint NOT NULL DEFAULT 1,
    seen      bigint NOT NULL DEFAULT 0,
    live      boolean NOT NULL DEFAULT true,
    wanted_on timestamptz NOT NULL DEFAULT now(),
    tried_on  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, subject)
);
CREATE INDEX looks_wanted_on ON looks (wanted_on); -- retention

-- Facts that ended a waiver for good: another head, or another destination. The
-- waiver itself is a log.
CREATE TABLE waiver_endings (
    waiver_id   bigint PRIMARY KEY REFERENCES waivers (id),
    ended_by    text NOT NULL CHECK (ended_by IN ('other_head', 'other_destination')),
    ended_on    timestamptz NOT NULL, -- when it was so, by Bitbucket's clock
    recorded_on timestamptz NOT NULL DEFAULT now()
);

-- A build that only a project's history told of: its pull request may have been
-- closed years ago.
ALTER TABLE builds ADD COLUMN by_history boolean NOT NULL DEFAULT false;
ALTER TABLE reports ADD COLUMN by_history boolean NOT NULL DEFAULT false;

-- The merge check says too where an account may not speak for the workspace.
DROP INDEX deliveries_unconfirmed;
CREATE INDEX deliveries_unconfirmed ON deliveries (lower(hinted_repository), hinted_pull_request)
    WHERE outcome IN ('pending', 'failed') OR reason = 'untrusted_account';

-- A report's build number is its script's word: it says nothing of another project's.
ALTER TABLE reports DROP CONSTRAINT reports_pkey, ADD PRIMARY KEY (workspace_uuid, repository_uuid, project_id, build_id);

-- Names that repositories had and no repository has now: AppVeyor goes on building under
-- the one it was told.
CREATE TABLE former_names (
    name            text PRIMARY KEY, -- lower case
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL
);
CREATE INDEX former_names_repository ON former_names (workspace_uuid, repository_uuid);

-- When the project's newest builds were last read from AppVeyor.
ALTER TABLE projects ADD COLUMN looked_on timestamptz;
-- Names come from AppVeyor alone: '' where only build scripts have named a project.
UPDATE projects SET account = '', slug = '' WHERE reports_only;

-- A token reports for the project it was made for, in the repositories of its glob.
ALTER TABLE tokens DROP COLUMN report_repository;

-- What AppVeyor said when a merge was checked again, '' where it wasn't.
ALTER TABLE decisions ADD COLUMN checked text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE decisions DROP COLUMN checked;
ALTER TABLE tokens ADD COLUMN report_repository uuid;
ALTER TABLE projects DROP COLUMN looked_on;
DELETE FROM reports r USING reports newer WHERE r.workspace_uuid = newer.workspace_uuid AND r.repository_uuid = newer.repository_uuid
    AND r.build_id = newer.build_id AND r.id < newer.id;
ALTER TABLE reports DROP CONSTRAINT reports_pkey, ADD PRIMARY KEY (workspace_uuid, repository_uuid, build_id);
DROP INDEX deliveries_unconfirmed;
CREATE INDEX deliveries_unconfirmed ON deliveries (lower(hinted_repository), hinted_pull_request)
    WHERE outcome IN ('pending', 'failed');
ALTER TABLE reports DROP COLUMN by_history;
ALTER TABLE builds DROP COLUMN by_history;
DROP TABLE former_names, waiver_endings, looks;
ALTER TABLE pull_requests DROP COLUMN source_commit;
ALTER TABLE branch_heads DROP COLUMN untimed;
ALTER TABLE pull_request_heads DROP COLUMN untimed;
