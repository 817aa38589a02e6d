-- +goose Up

-- Pull requests whose verdict may have changed since Bitbucket was last made to
-- show it. Every change is counted; a job is queued only where none is waiting to
-- begin, and one that a newer job has taken over from ends.
CREATE TABLE effect_runs (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    pull_request_id bigint NOT NULL,
    wanted          bigint NOT NULL DEFAULT 1, -- changes so far
    turn            bigint NOT NULL DEFAULT 1, -- the change that the newest job was queued for
    seen            bigint NOT NULL DEFAULT 0, -- the changes that a job has begun to work on
    wanted_on       timestamptz NOT NULL DEFAULT now(),
    leased_until    timestamptz,
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id)
);

-- What else Bitbucket is to show of a verdict, and what it was told: one row for
-- each thing that we made or are to make, none for anything else.
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
    delivery        text NOT NULL DEFAULT 'pending' CHECK (delivery IN ('pending', 'posted', 'failed')),
    http_status     integer,
    reason          text NOT NULL DEFAULT '',
    attempts        integer NOT NULL DEFAULT 0,
    pending_since   timestamptz NOT NULL DEFAULT now(),
    next_attempt_on timestamptz,
    updated_on      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, pull_request_id, effect)
);

-- +goose Down
DROP TABLE effects, effect_runs;
