-- +goose Up

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

-- +goose StatementBegin
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is a log: rows are added to it, never changed or deleted', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER waivers_log BEFORE UPDATE OR DELETE ON waivers FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER waivers_truncate BEFORE TRUNCATE ON waivers FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER waiver_revocations_log BEFORE UPDATE OR DELETE ON waiver_revocations
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER waiver_revocations_truncate BEFORE TRUNCATE ON waiver_revocations
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What Bitbucket told of commits; commits don't change, so neither does it. It is
-- kept to spare asking again, and can be deleted at any time.
CREATE TABLE commit_distances (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    destination     text NOT NULL, -- the destination's commit, as Bitbucket abbreviates it
    tested          text NOT NULL, -- the commit that was merged into
    behind          integer NOT NULL, -- commits of destination that tested doesn't have
    complete        boolean NOT NULL, -- false: there are more
    read_on         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, destination, tested)
);
CREATE INDEX commit_distances_read_on ON commit_distances (read_on);

CREATE TABLE changed_paths (
    workspace_uuid  uuid NOT NULL,
    repository_uuid uuid NOT NULL,
    head            text NOT NULL,
    destination     text NOT NULL, -- the destination's commit, as Bitbucket abbreviates it
    paths           text[] NOT NULL,
    read_on         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, repository_uuid, head, destination)
);
CREATE INDEX changed_paths_read_on ON changed_paths (read_on);

-- A pull request's author never changes.
ALTER TABLE pull_requests ADD COLUMN author text NOT NULL DEFAULT '';

-- What a decision was decided from, so that it can be decided again by another
-- policy; null where nothing could be read.
ALTER TABLE decisions ADD COLUMN inputs jsonb;
CREATE INDEX decisions_repository ON decisions (workspace_uuid, repository_uuid, id);
CREATE INDEX decisions_workspace ON decisions (workspace_uuid, created_on);

-- +goose Down
DROP INDEX decisions_workspace, decisions_repository;
ALTER TABLE decisions DROP COLUMN inputs;
ALTER TABLE pull_requests DROP COLUMN author;
DROP TABLE changed_paths, commit_distances, waiver_revocations, waivers, policies;
DROP FUNCTION refuse_change;
