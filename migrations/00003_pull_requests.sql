-- +goose Up

-- A pull request as the newest event or reading told it. Verdicts don't rest on
-- it: it says which are open, and where they come from and go to.
CREATE TABLE pull_requests (
    workspace_uuid     uuid NOT NULL,
    repository_uuid    uuid NOT NULL,
    pull_request_id    bigint NOT NULL,
    state              text NOT NULL DEFAULT '',
    source_repository  uuid,
    source_branch      text NOT NULL DEFAULT '',
    destination_branch text NOT NULL DEFAULT '',
    told_on            timestamptz NOT NULL, -- when Bitbucket said so
    looked_on          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id)
);
CREATE INDEX pull_requests_source ON pull_requests (workspace_uuid, source_repository, source_branch);
CREATE INDEX pull_requests_open ON pull_requests (looked_on) WHERE state = 'OPEN';

-- Heads of branches over time, by Bitbucket's push events.
CREATE TABLE branch_heads (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    branch          text NOT NULL,
    pushed_on       timestamptz NOT NULL,
    commit          text NOT NULL CHECK (commit ~ '^[0-9a-f]{40}$'),
    PRIMARY KEY (workspace_uuid, repository_uuid, branch, pushed_on, commit)
);
CREATE INDEX branch_heads_pushed_on ON branch_heads (pushed_on);

-- The same request, sent again, is the same delivery.
ALTER TABLE deliveries ADD COLUMN request_id text;
ALTER TABLE deliveries ADD COLUMN event text NOT NULL DEFAULT '';
-- From when on it is tried for a day: its receipt, or its replay.
ALTER TABLE deliveries ADD COLUMN pending_since timestamptz NOT NULL DEFAULT now();
UPDATE deliveries SET pending_since = received_on;
CREATE UNIQUE INDEX deliveries_request_id ON deliveries (source, request_id);

-- Forge app system tokens, encrypted with MERGEGATE_SECRET_KEY.
CREATE TABLE app_tokens (
    workspace_uuid uuid PRIMARY KEY,
    sealed         bytea NOT NULL,
    expires_on     timestamptz NOT NULL,
    updated_on     timestamptz NOT NULL DEFAULT now()
);

-- AppVeyor is asked once for each head and destination to build again.
CREATE TABLE rebuilds (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    pull_request_id bigint NOT NULL,
    project_id      bigint NOT NULL,
    head            text NOT NULL,
    destination     text NOT NULL,
    requested_on    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id, project_id, head, destination)
);

-- When a pull request closes, the statuses of its builds are stopped.
CREATE INDEX commit_statuses_build_id ON commit_statuses (build_id) WHERE state = 'INPROGRESS';

-- The newest build at the last whole look through the project's history.
ALTER TABLE projects ADD COLUMN reconciled_to bigint NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE projects DROP COLUMN reconciled_to;
DROP INDEX commit_statuses_build_id;
DROP INDEX deliveries_request_id;
ALTER TABLE deliveries DROP COLUMN event, DROP COLUMN request_id, DROP COLUMN pending_since;
DROP TABLE rebuilds, app_tokens, branch_heads, pull_requests;
