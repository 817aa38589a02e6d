-- +goose Up

-- Every table of facts leads with the workspace, and every query names it.
-- A repository whose UUID Bitbucket has not told yet is kept under the nil
-- workspace and a UUID made from its name, and moved when it is told.
CREATE TABLE repositories (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    full_name       text, -- null once another repository has the name
    created_on      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid)
);
CREATE UNIQUE INDEX repositories_full_name ON repositories (lower(full_name));

-- What was received, raw and append-only. The hints in it are what a pull
-- request author may have written.
CREATE TABLE deliveries (
    id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source               text NOT NULL,
    body                 bytea NOT NULL,
    build_id             bigint,
    account              text NOT NULL DEFAULT '',
    slug                 text NOT NULL DEFAULT '',
    version              text NOT NULL DEFAULT '',
    hinted_repository    text NOT NULL DEFAULT '',
    hinted_pull_request  bigint NOT NULL DEFAULT 0,
    outcome              text NOT NULL CHECK (outcome IN ('pending', 'processed', 'ignored', 'failed')),
    reason               text NOT NULL DEFAULT '',
    attempts             integer NOT NULL DEFAULT 0,
    received_on          timestamptz NOT NULL DEFAULT now(),
    processed_on         timestamptz
);
-- The merge check asks which deliveries could explain that there is no build.
CREATE INDEX deliveries_unconfirmed ON deliveries (lower(hinted_repository), hinted_pull_request)
    WHERE outcome IN ('pending', 'failed');
CREATE INDEX deliveries_received_on ON deliveries (received_on);

-- AppVeyor projects seen building pull requests of a repository.
CREATE TABLE projects (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    project_id      bigint NOT NULL,
    account         text NOT NULL,
    slug            text NOT NULL,
    named_by        bigint NOT NULL DEFAULT 0, -- the newest build that told account and slug
    first_seen_on   timestamptz NOT NULL DEFAULT now(),
    forgotten_on    timestamptz,
    PRIMARY KEY (workspace_uuid, repository_uuid, project_id)
);

CREATE TABLE builds (
    workspace_uuid     uuid NOT NULL,
    repository_uuid    uuid NOT NULL,
    id                 bigint GENERATED ALWAYS AS IDENTITY,
    build_id           bigint NOT NULL,
    project_id         bigint NOT NULL,
    account            text NOT NULL,
    slug               text NOT NULL,
    repository         text NOT NULL,
    pull_request_id    bigint NOT NULL,
    pull_request_title text NOT NULL DEFAULT '',
    version            text NOT NULL DEFAULT '',
    state              text NOT NULL CHECK (state IN ('queued', 'running', 'success', 'failed', 'cancelled')),
    reported_commit    text NOT NULL DEFAULT '', -- the head as AppVeyor names it: 40, 12, 10 characters or none
    source_commit      text NOT NULL DEFAULT '', -- the 40-character head it is settled to be of, or ''
    source_branch      text NOT NULL DEFAULT '',
    source_repository  text NOT NULL DEFAULT '',
    destination_branch text NOT NULL DEFAULT '',
    commit_id          text NOT NULL DEFAULT '',
    url                text NOT NULL DEFAULT '',
    jobs               jsonb NOT NULL DEFAULT '[]',
    jobs_updated_on    timestamptz,
    jobs_state         text NOT NULL DEFAULT '',
    created_on         timestamptz,
    started_on         timestamptz,
    finished_on        timestamptz,
    updated_on         timestamptz,
    confirmed_by       text NOT NULL DEFAULT 'appveyor',
    recorded_on        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, build_id),
    UNIQUE (id)
);
-- One index for each way in; all end in build_id, the order of every list.
CREATE INDEX builds_repository ON builds (workspace_uuid, repository_uuid, build_id DESC);
CREATE INDEX builds_pull_request ON builds (workspace_uuid, repository_uuid, pull_request_id, build_id DESC);
CREATE INDEX builds_project ON builds (workspace_uuid, repository_uuid, project_id, build_id DESC);
CREATE INDEX builds_project_name ON builds (workspace_uuid, repository_uuid, lower(account || '/' || slug), build_id DESC);
CREATE INDEX builds_state ON builds (workspace_uuid, repository_uuid, state, build_id DESC);
CREATE INDEX builds_source_commit ON builds (workspace_uuid, repository_uuid, source_commit text_pattern_ops);
CREATE INDEX builds_created_on ON builds (workspace_uuid, repository_uuid, created_on);
CREATE INDEX builds_build_id ON builds (build_id);

-- Commits that were a pull request's head, one row for each unbroken stretch.
CREATE TABLE pull_request_heads (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    pull_request_id bigint NOT NULL,
    first_seen_on   timestamptz NOT NULL,
    commit          text NOT NULL CHECK (commit ~ '^[0-9a-f]{40}$'),
    last_seen_on    timestamptz NOT NULL,
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit)
);

-- What Bitbucket is to show on a source commit, and what it was told.
CREATE TABLE commit_statuses (
    workspace_uuid    uuid NOT NULL,
    repository_uuid   uuid NOT NULL,
    id                bigint GENERATED ALWAYS AS IDENTITY,
    commit            text NOT NULL,
    key               text NOT NULL,
    repository        text NOT NULL,               -- "workspace/repo" to post to
    source_repository text NOT NULL DEFAULT '',    -- the fork to try when the commit isn't there
    build_id          bigint NOT NULL,
    state             text NOT NULL,
    name              text NOT NULL,
    description       text NOT NULL,
    url               text NOT NULL,
    refname           text NOT NULL,
    wanted_version    bigint NOT NULL DEFAULT 1,
    posted_version    bigint NOT NULL DEFAULT 0,   -- the version that was settled: posted, or refused for good
    posted_state      text NOT NULL DEFAULT '',
    delivery          text NOT NULL DEFAULT 'pending' CHECK (delivery IN ('pending', 'posted', 'failed', 'not_postable')),
    http_status       integer,
    reason            text NOT NULL DEFAULT '',
    attempts          integer NOT NULL DEFAULT 0,
    pending_since     timestamptz NOT NULL DEFAULT now(),
    next_attempt_on   timestamptz,
    leased_until      timestamptz,
    updated_on        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, commit, key),
    UNIQUE (id)
);
CREATE INDEX commit_statuses_delivery ON commit_statuses (delivery, id);
-- Who is posting is counted before each post; it is never many.
CREATE INDEX commit_statuses_leased ON commit_statuses (workspace_uuid, repository_uuid) WHERE leased_until IS NOT NULL;

-- Every answer to a merge check, with what it was decided from.
CREATE TABLE decisions (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    pull_request_id bigint NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    trigger         text NOT NULL,
    success         boolean NOT NULL,
    code            text NOT NULL,
    message         text NOT NULL,
    head            text NOT NULL DEFAULT '',
    destination     text NOT NULL DEFAULT '',
    policy_version  bigint,
    builds          bigint[] NOT NULL DEFAULT '{}',
    duration_ms     integer NOT NULL,
    created_on      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id, id)
);
CREATE INDEX decisions_created_on ON decisions (created_on);

CREATE TABLE tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL,
    hash         bytea NOT NULL UNIQUE,
    scopes       text[] NOT NULL,
    owner        text NOT NULL DEFAULT '',
    repository   text NOT NULL DEFAULT '**',
    expires_on   timestamptz,
    created_on   timestamptz NOT NULL DEFAULT now(),
    last_used_on timestamptz,
    revoked_on   timestamptz
);

-- +goose Down
DROP TABLE tokens, decisions, commit_statuses, pull_request_heads, builds, projects, deliveries, repositories;
