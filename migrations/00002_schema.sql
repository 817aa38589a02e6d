-- +goose Up

-- The rules of this schema, which a test holds:
--   * The tables of facts lead with the workspace, in the primary key and in every unique
--     constraint, and it is never updated: they can be distributed by it. No foreign key and
--     no trigger crosses them.
--   * repositories is small and changes with links and renames alone.
--   * Everything else is claimed across workspaces, or has none.
--   * Every state has its CHECK. Unknown is NULL, or '' where a text is compared.
--   * Every index serves a query, named beside it.

-- Repositories whose UUIDs Bitbucket has told. A name is stored only from Bitbucket's answer
-- to a request by UUID.
CREATE TABLE repositories (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    full_name       text CHECK (length(full_name) <= 256), -- null once another repository has the name
    created_on      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid)
);
CREATE UNIQUE INDEX repositories_full_name ON repositories (lower(full_name)); -- RepositoryByName: builds and paths name them

-- Names that repositories had and no repository has now: AppVeyor goes on building under
-- the one it was told.
CREATE TABLE former_names (
    name            text PRIMARY KEY, -- lower case
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL
);
CREATE INDEX former_names_repository ON former_names (workspace_uuid, repository_uuid); -- Facts: deliveries that name it so

-- What changes often about a repository, apart from it.
CREATE TABLE repository_visits (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    asked_on        timestamptz NOT NULL, -- when a merge check last found no finished build, and so for how long it is looked at more often
    PRIMARY KEY (workspace_uuid, repository_uuid)
);

-- Confirmed builds of repositories that Bitbucket has not told of yet, as documents: the
-- newest of each name, for 30 days. They are recorded when it has.
CREATE TABLE unlinked_builds (
    build_id    bigint PRIMARY KEY,
    name        text NOT NULL, -- lower case
    document    jsonb NOT NULL,
    found       boolean NOT NULL, -- only a project's history told of it
    recorded_on timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX unlinked_builds_name ON unlinked_builds (name, build_id); -- RecordWaiting
CREATE INDEX unlinked_builds_recorded_on ON unlinked_builds (recorded_on); -- retention

-- A delivery's id begins with the day on which it came, so that the id alone tells its
-- partition, and is greater than that of every earlier one.
CREATE SEQUENCE delivery_numbers MAXVALUE 4294967295 CYCLE;
CREATE FUNCTION next_delivery_id() RETURNS bigint LANGUAGE sql AS
    $$ SELECT ((extract(epoch FROM now())::bigint / 86400) << 32) + nextval('delivery_numbers') $$;

-- What was received, raw and append-only, a partition a day: bodies hold e-mail addresses,
-- and 30 days are 30 days. The hints in it are what a pull request author may have written.
CREATE TABLE deliveries (
    id                  bigint NOT NULL DEFAULT next_delivery_id() PRIMARY KEY,
    source              text NOT NULL CHECK (source IN ('appveyor', 'forge', 'bitbucket')),
    event               text NOT NULL DEFAULT '',
    body                bytea NOT NULL,
    workspace_uuid      uuid, -- of an event, by what Bitbucket signed: who may see the delivery
    repository_uuid     uuid,
    build_id            bigint,
    account             text NOT NULL DEFAULT '',
    slug                text NOT NULL DEFAULT '',
    version             text NOT NULL DEFAULT '',
    hinted_repository   text NOT NULL DEFAULT '',
    hinted_pull_request bigint NOT NULL DEFAULT 0,
    outcome             text NOT NULL CHECK (outcome IN ('pending', 'processed', 'ignored', 'failed')),
    reason              text NOT NULL DEFAULT '',
    attempts            integer NOT NULL DEFAULT 0,
    pending_since       timestamptz NOT NULL DEFAULT now(), -- from when on it is tried for a day: its receipt, or its replay
    received_on         timestamptz NOT NULL DEFAULT now(),
    processed_on        timestamptz
) PARTITION BY RANGE (id);
CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT;
CREATE INDEX deliveries_unconfirmed ON deliveries (lower(hinted_repository), hinted_pull_request)
    WHERE outcome IN ('pending', 'failed') OR reason = 'untrusted_account'; -- Facts: what could explain that there is no build
CREATE INDEX deliveries_received_on ON deliveries (received_on); -- DeliveriesSince, retention

-- The same request, sent again, is the same delivery.
CREATE TABLE delivery_requests (
    source      text NOT NULL CHECK (source IN ('appveyor', 'forge', 'bitbucket')),
    request_id  text NOT NULL,
    delivery_id bigint NOT NULL,
    received_on timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, request_id)
);
CREATE INDEX delivery_requests_received_on ON delivery_requests (received_on); -- retention

-- AppVeyor projects seen building pull requests of a repository.
CREATE TABLE projects (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    project_id      bigint NOT NULL,
    account         text NOT NULL, -- '' where only build scripts have named it
    slug            text NOT NULL,
    named_by        bigint NOT NULL DEFAULT 0, -- the newest build that told account and slug
    listed_on       timestamptz,               -- when AppVeyor's list of projects named it; null: a newer build did
    replaced_by     bigint,                    -- the project that took the slug of this one, which AppVeyor's list lacks
    reports_only    boolean NOT NULL DEFAULT false, -- so far only build scripts have told of it
    reconciled_to   bigint NOT NULL DEFAULT 0, -- the newest build at the last whole look through its history
    looked_on       timestamptz,               -- when its newest builds were last read from AppVeyor
    first_seen_on   timestamptz NOT NULL DEFAULT now(),
    forgotten_on    timestamptz,
    PRIMARY KEY (workspace_uuid, repository_uuid, project_id)
);

-- Pull request builds that AppVeyor confirmed.
CREATE TABLE builds (
    workspace_uuid     uuid NOT NULL,
    repository_uuid    uuid NOT NULL,
    id                 bigint GENERATED ALWAYS AS IDENTITY,
    build_id           bigint NOT NULL, -- AppVeyor's
    project_id         bigint NOT NULL,
    account            text NOT NULL,
    slug               text NOT NULL,
    repository         text NOT NULL, -- as AppVeyor named it then
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
    jobs_state         text NOT NULL DEFAULT '' CHECK (jobs_state IN ('', 'queued', 'running', 'success', 'failed', 'cancelled')),
    created_on         timestamptz,
    started_on         timestamptz,
    finished_on        timestamptz,
    updated_on         timestamptz,
    confirmed_by       text NOT NULL DEFAULT 'appveyor' CHECK (confirmed_by = 'appveyor'),
    by_history         boolean NOT NULL DEFAULT false, -- only a project's history told of it: its pull request may have been closed years ago
    missing_looks      integer NOT NULL DEFAULT 0,     -- unfinished, and AppVeyor doesn't show it: in how many looks in a row
    missing_since      timestamptz,
    deleted_on         timestamptz,                    -- when it was taken for deleted
    recorded_on        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, build_id)
);
-- One index for each way into the history; all end in build_id, the order of every list.
CREATE INDEX builds_repository ON builds (workspace_uuid, repository_uuid, build_id DESC);                                            -- Builds
CREATE INDEX builds_pull_request ON builds (workspace_uuid, repository_uuid, pull_request_id, build_id DESC);                         -- Builds of a pull request, Facts
CREATE INDEX builds_project ON builds (workspace_uuid, repository_uuid, project_id, build_id DESC);                                   -- Builds of a project, newestOf
CREATE INDEX builds_project_name ON builds (workspace_uuid, repository_uuid, lower(account || '/' || slug), build_id DESC);            -- Builds of a project by name
CREATE INDEX builds_state ON builds (workspace_uuid, repository_uuid, state, build_id DESC);                                          -- Builds in a state
CREATE INDEX builds_source_commit ON builds (workspace_uuid, repository_uuid, source_commit text_pattern_ops);                        -- Builds of a commit
CREATE INDEX builds_created_on ON builds (workspace_uuid, repository_uuid, created_on);                                               -- Builds of a time, Stats
CREATE INDEX builds_build_id ON builds (build_id);                                                                                    -- RecordBuild: whose it is already
CREATE INDEX builds_id ON builds (workspace_uuid, id);                                                                               -- Build
CREATE INDEX builds_recorded_on ON builds (recorded_on);                                                                              -- retention

-- Results that build scripts reported. They are apart from what AppVeyor confirmed: whoever
-- can write a report must not be able to stand where AppVeyor's answer would.
CREATE TABLE result_reports (
    workspace_uuid     uuid NOT NULL,
    repository_uuid    uuid NOT NULL,
    id                 bigint GENERATED ALWAYS AS IDENTITY,
    build_id           bigint NOT NULL, -- its script's word: it says nothing of another project's
    project_id         bigint NOT NULL,
    account            text NOT NULL,
    slug               text NOT NULL,
    repository         text NOT NULL,
    pull_request_id    bigint NOT NULL,
    pull_request_title text NOT NULL DEFAULT '',
    version            text NOT NULL DEFAULT '',
    state              text NOT NULL CHECK (state IN ('queued', 'running', 'success', 'failed', 'cancelled')),
    reported_commit    text NOT NULL DEFAULT '',
    source_commit      text NOT NULL DEFAULT '',
    source_branch      text NOT NULL DEFAULT '',
    source_repository  text NOT NULL DEFAULT '',
    destination_branch text NOT NULL DEFAULT '',
    commit_id          text NOT NULL DEFAULT '',
    url                text NOT NULL DEFAULT '',
    jobs               jsonb NOT NULL DEFAULT '[]',
    jobs_updated_on    timestamptz,
    jobs_state         text NOT NULL DEFAULT '' CHECK (jobs_state IN ('', 'queued', 'running', 'success', 'failed', 'cancelled')),
    created_on         timestamptz,
    started_on         timestamptz,
    finished_on        timestamptz,
    updated_on         timestamptz,
    confirmed_by       text NOT NULL DEFAULT 'report' CHECK (confirmed_by = 'report'),
    by_history         boolean NOT NULL DEFAULT false, -- read together with builds; never of a report
    deleted_on         timestamptz,                    -- the same
    attempt            integer NOT NULL DEFAULT 1,
    recorded_on        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, project_id, build_id)
);
CREATE INDEX result_reports_pull_request ON result_reports (workspace_uuid, repository_uuid, pull_request_id, build_id DESC);  -- Builds of a pull request, Facts
CREATE INDEX result_reports_source_commit ON result_reports (workspace_uuid, repository_uuid, source_commit text_pattern_ops); -- Builds of a commit
CREATE INDEX result_reports_created_on ON result_reports (workspace_uuid, repository_uuid, created_on);                        -- Builds of a time, Stats
CREATE INDEX result_reports_id ON result_reports (workspace_uuid, id);                                                        -- Build
CREATE INDEX result_reports_recorded_on ON result_reports (recorded_on);                                                      -- retention

-- Commits that were a pull request's head, one row for each unbroken stretch, by Bitbucket's
-- own times. A push webhook has none: its times here are those of its arrival.
CREATE TABLE pull_request_heads (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    pull_request_id bigint NOT NULL,
    first_seen_on   timestamptz NOT NULL,
    commit          text NOT NULL CHECK (commit ~ '^[0-9a-f]{40}$'),
    last_seen_on    timestamptz NOT NULL,
    untimed         boolean NOT NULL DEFAULT false,
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id, first_seen_on, commit)
);

-- A pull request as the newest event or reading told it. Verdicts don't rest on it: it says
-- which are open, and where they come from and go to.
CREATE TABLE pull_requests (
    workspace_uuid     uuid NOT NULL,
    repository_uuid    uuid NOT NULL,
    pull_request_id    bigint NOT NULL,
    state              text NOT NULL DEFAULT '', -- Bitbucket's word
    author             text NOT NULL DEFAULT '', -- a UUID; it never changes
    source_repository  uuid,
    source_branch      text NOT NULL DEFAULT '',
    source_commit      text NOT NULL DEFAULT '', -- the head as the newest event has it, abbreviated; '' where it was read in full
    destination_branch text NOT NULL DEFAULT '',
    told_on            timestamptz NOT NULL,     -- when Bitbucket said so
    looked_on          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id)
);
CREATE INDEX pull_requests_source ON pull_requests (workspace_uuid, source_repository, source_branch); -- a push: whose head it is
CREATE INDEX pull_requests_open ON pull_requests (looked_on) WHERE state = 'OPEN';                     -- the sweep

-- Heads of branches over time, by Bitbucket's push events.
CREATE TABLE branch_heads (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    branch          text NOT NULL,
    pushed_on       timestamptz NOT NULL,
    commit          text NOT NULL CHECK (commit ~ '^[0-9a-f]{40}$'),
    untimed         boolean NOT NULL DEFAULT false,
    PRIMARY KEY (workspace_uuid, repository_uuid, branch, pushed_on, commit)
);
CREATE INDEX branch_heads_pushed_on ON branch_heads (pushed_on); -- retention

-- Every answer to a merge check, with what it was decided from, a partition a month.
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
    checked         text NOT NULL DEFAULT '', -- what AppVeyor said when a merge was checked again, '' where it wasn't
    inputs          jsonb,                    -- so that it can be decided again by another policy; null where nothing could be read
    duration_ms     integer NOT NULL,
    created_on      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id, id, created_on)
) PARTITION BY RANGE (created_on);
CREATE TABLE decisions_default PARTITION OF decisions DEFAULT;
CREATE INDEX decisions_repository ON decisions (workspace_uuid, repository_uuid, id);                    -- Decisions of a repository
CREATE INDEX decisions_repository_created_on ON decisions (workspace_uuid, repository_uuid, created_on); -- Stats
CREATE INDEX decisions_workspace ON decisions (workspace_uuid, created_on);                              -- MergeDecisions: a simulation
CREATE INDEX decisions_created_on ON decisions (created_on);                                             -- retention

-- What Bitbucket told of commits; commits don't change, so neither does it. It is kept to
-- spare asking again, and can be deleted at any time.
CREATE TABLE commit_distances (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    destination     text NOT NULL,    -- the destination's commit, as Bitbucket abbreviates it
    tested          text NOT NULL,    -- the commit that was merged into
    behind          integer NOT NULL, -- commits of destination that tested doesn't have
    complete        boolean NOT NULL, -- false: there are more
    read_on         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, destination, tested)
);
CREATE INDEX commit_distances_read_on ON commit_distances (read_on); -- retention

CREATE TABLE changed_paths (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    head            text NOT NULL,
    destination     text NOT NULL, -- the destination's commit, as Bitbucket abbreviates it
    paths           text[] NOT NULL,
    read_on         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, head, destination)
);
CREATE INDEX changed_paths_read_on ON changed_paths (read_on); -- retention

-- The verdict on a pull request that somebody was told last.
CREATE TABLE pull_request_verdicts (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    pull_request_id bigint NOT NULL,
    head            text NOT NULL,
    code            text NOT NULL,
    success         boolean NOT NULL,
    changed_on      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id)
);
CREATE INDEX pull_request_verdicts_changed_on ON pull_request_verdicts (changed_on); -- retention

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
CREATE INDEX rebuilds_requested_on ON rebuilds (requested_on); -- retention

-- What Bitbucket or a subscriber is to be shown, and how far that has come: one row for
-- each thing that is made at once. What it is says the table of its kind, which shares the
-- id. Every change of what is wanted is counted. A job is queued only where none is waiting
-- to begin, and makes what is wanted when it runs.
CREATE TABLE outbox (
    id              bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    kind            text NOT NULL CHECK (kind IN ('commit_status', 'effects', 'notification')),
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid,
    pull_request_id bigint,
    subject         text, -- which one of its kind; null: there is never another of it
    lane            text NOT NULL, -- only some of a lane are made at a time
    wanted          bigint NOT NULL DEFAULT 1, -- changes so far
    queued          bigint NOT NULL DEFAULT 1, -- the change that the newest job was queued for
    begun           bigint NOT NULL DEFAULT 0, -- the change that was wanted when a job last began
    settled         bigint NOT NULL DEFAULT 0, -- the change that was made, or refused for good
    outcome         text NOT NULL DEFAULT 'pending' CHECK (outcome IN ('pending', 'posted', 'delivered', 'failed', 'not_postable')),
    http_status     integer,
    reason          text NOT NULL DEFAULT '',
    attempts        integer NOT NULL DEFAULT 0,
    wanted_on       timestamptz NOT NULL DEFAULT now(),
    pending_since   timestamptz NOT NULL DEFAULT now(), -- from when on it is tried
    next_attempt_on timestamptz,
    leased_until    timestamptz,
    updated_on      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (kind, subject)
);
CREATE INDEX outbox_outcome ON outbox (kind, outcome, id);                          -- CommitStatuses, RetryRefused
CREATE INDEX outbox_leased ON outbox (kind, lane) WHERE leased_until IS NOT NULL;   -- Claim: who makes something now

-- What Bitbucket is to show on a source commit.
CREATE TABLE commit_statuses (
    id           bigint PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
    commit       text NOT NULL,
    key          text NOT NULL CHECK (length(key) <= 40),
    fork         text NOT NULL DEFAULT '', -- "workspace/repo" to try when the commit isn't there, '' for no fork
    build_id     bigint NOT NULL,
    state        text NOT NULL CHECK (state IN ('INPROGRESS', 'SUCCESSFUL', 'FAILED', 'STOPPED')),
    name         text NOT NULL,
    description  text NOT NULL,
    url          text NOT NULL,
    refname      text NOT NULL,
    posted_state text NOT NULL DEFAULT '' -- as Bitbucket shows it
);
CREATE INDEX commit_statuses_commit ON commit_statuses (commit);                                 -- RetryRefused: a commit became a head
CREATE INDEX commit_statuses_build_id ON commit_statuses (build_id) WHERE state = 'INPROGRESS';  -- a pull request closes

-- What else Bitbucket is to show of a verdict, and what it was told: one row for each thing
-- that we made or are to make, none for anything else.
CREATE TABLE effects (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    pull_request_id bigint NOT NULL,
    effect          text NOT NULL CHECK (effect IN ('approve', 'request_changes', 'comment', 'task', 'report')),
    wanted          text NOT NULL DEFAULT '', -- '': it is to be gone
    wanted_content  text NOT NULL DEFAULT '', -- a hash
    made            text NOT NULL DEFAULT '', -- as Bitbucket shows it
    made_content    text NOT NULL DEFAULT '',
    remote_id       text NOT NULL DEFAULT '',
    mark            text NOT NULL DEFAULT '', -- set before it is first made: by it ours is found again
    begun_on        timestamptz,              -- when the mark was set
    head            text NOT NULL DEFAULT '', -- the commit it is of
    outcome         text NOT NULL DEFAULT 'pending' CHECK (outcome IN ('pending', 'posted', 'failed')),
    http_status     integer,
    reason          text NOT NULL DEFAULT '',
    attempts        integer NOT NULL DEFAULT 0,
    pending_since   timestamptz NOT NULL DEFAULT now(),
    next_attempt_on timestamptz,
    updated_on      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id, effect)
);

-- Every version of each workspace's policy; the highest is in force.
CREATE TABLE policies (
    workspace_uuid uuid NOT NULL,
    version        bigint NOT NULL CHECK (version > 0),
    document       text NOT NULL,
    applied_by     text NOT NULL,
    applied_on     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, version)
);

-- Who waived what and why. A log: the database refuses to change it.
CREATE TABLE waivers (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    pull_request_id bigint NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    head            text NOT NULL CHECK (head ~ '^[0-9a-f]{40}$'),
    destination     text NOT NULL,
    project_id      bigint NOT NULL DEFAULT 0, -- 0: every project
    project_name    text NOT NULL DEFAULT '',
    reason          text NOT NULL CHECK (reason <> ''),
    by              text NOT NULL,             -- the token's name
    owner           text NOT NULL DEFAULT '',  -- the token's owner
    author          text NOT NULL DEFAULT '',  -- the pull request's author
    two_person      boolean NOT NULL,
    created_on      timestamptz NOT NULL DEFAULT now(),
    expires_on      timestamptz NOT NULL,
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id, id),
    UNIQUE (id)
);

CREATE TABLE waiver_revocations (
    waiver_id  bigint PRIMARY KEY REFERENCES waivers (id),
    by         text NOT NULL,
    revoked_on timestamptz NOT NULL DEFAULT now()
);

-- Facts that ended a waiver for good: another head, or another destination.
CREATE TABLE waiver_endings (
    waiver_id   bigint PRIMARY KEY REFERENCES waivers (id),
    ended_by    text NOT NULL CHECK (ended_by IN ('other_head', 'other_destination')),
    ended_on    timestamptz NOT NULL, -- when it was so, by Bitbucket's clock
    recorded_on timestamptz NOT NULL DEFAULT now()
);

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is a log: rows are added to it, never changed or deleted', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER waivers_log BEFORE UPDATE OR DELETE ON waivers FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER waivers_truncate BEFORE TRUNCATE ON waivers FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER waiver_revocations_log BEFORE UPDATE OR DELETE ON waiver_revocations FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER waiver_revocations_truncate BEFORE TRUNCATE ON waiver_revocations FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- API tokens, without their text.
CREATE TABLE tokens (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL,
    hash           bytea NOT NULL UNIQUE,
    scopes         text[] NOT NULL CHECK (scopes <@ ARRAY['read', 'report', 'waive', 'admin']),
    owner          text NOT NULL DEFAULT '',
    repository     text NOT NULL CHECK (repository <> ''), -- a glob; ** covers every repository
    report_project bigint CHECK ((report_project IS NOT NULL) = ('report' = ANY (scopes))), -- whose results it reports
    expires_on     timestamptz,
    created_on     timestamptz NOT NULL DEFAULT now(),
    last_used_on   timestamptz,
    revoked_on     timestamptz
);

-- Forge app system tokens, encrypted with MERGEGATE_SECRET_KEY.
CREATE TABLE app_tokens (
    workspace_uuid uuid PRIMARY KEY,
    sealed         bytea NOT NULL,
    expires_on     timestamptz NOT NULL,
    updated_on     timestamptz NOT NULL DEFAULT now()
);

-- What has to be looked at again: how often that was wanted, for which of these times the
-- newest job was queued, and how many a job had seen when it began to look. A job is queued
-- where none is live; one that ends while more was wanted than it has seen looks once more.
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

-- Whom to tell of what happens in a workspace.
CREATE TABLE subscriptions (
    workspace_uuid  uuid NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    url             text NOT NULL,
    events          text[] NOT NULL,
    secrets         bytea NOT NULL, -- encrypted with MERGEGATE_SECRET_KEY
    created_by      text NOT NULL,
    created_on      timestamptz NOT NULL DEFAULT now(),
    disabled_on     timestamptz,
    disabled_reason text NOT NULL DEFAULT '',
    PRIMARY KEY (workspace_uuid, id),
    UNIQUE (id)
);

-- What one of them is sent.
CREATE TABLE notifications (
    id              bigint PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
    subscription_id bigint NOT NULL REFERENCES subscriptions (id) ON DELETE CASCADE,
    event           text NOT NULL,
    body            text NOT NULL,
    created_on      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notifications_subscription ON notifications (subscription_id, id DESC); -- Notifications
CREATE INDEX notifications_created_on ON notifications (created_on);                 -- retention

CREATE TABLE notification_attempts (
    notification_id bigint NOT NULL REFERENCES notifications (id) ON DELETE CASCADE,
    attempted_on    timestamptz NOT NULL DEFAULT now(),
    http_status     integer,
    reason          text NOT NULL DEFAULT '',
    duration_ms     integer NOT NULL,
    PRIMARY KEY (notification_id, attempted_on)
);

-- One row that is written to learn whether anything can be written.
CREATE TABLE write_probe (
    id         boolean PRIMARY KEY DEFAULT true CHECK (id),
    written_on timestamptz NOT NULL DEFAULT now()
);
INSERT INTO write_probe DEFAULT VALUES;

-- +goose Down
DROP TABLE write_probe, notification_attempts, notifications, subscriptions, looks, app_tokens, tokens,
    waiver_endings, waiver_revocations, waivers, policies, effects, commit_statuses, outbox, rebuilds,
    pull_request_verdicts, changed_paths, commit_distances, decisions, branch_heads, pull_requests,
    pull_request_heads, result_reports, builds, projects, delivery_requests, deliveries, unlinked_builds, repository_visits, former_names, repositories;
DROP FUNCTION refuse_change, next_delivery_id;
DROP SEQUENCE delivery_numbers;
