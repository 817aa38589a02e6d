-- +goose Up

-- An unfinished build that AppVeyor doesn't show any more: in how many looks in a
-- row, since when, and when it was taken for deleted.
ALTER TABLE builds
    ADD COLUMN missing_looks integer NOT NULL DEFAULT 0,
    ADD COLUMN missing_since timestamptz,
    ADD COLUMN deleted_on timestamptz;
-- Reports are read together with builds. They are never deleted on AppVeyor.
ALTER TABLE reports ADD COLUMN deleted_on timestamptz;

ALTER TABLE projects
    ADD COLUMN listed_on timestamptz,  -- when AppVeyor's list of projects named it; null: a newer build did
    ADD COLUMN replaced_by bigint;     -- the project that took the slug of this one, which AppVeyor's list lacks

-- +goose Down
ALTER TABLE projects DROP COLUMN replaced_by, DROP COLUMN listed_on;
ALTER TABLE reports DROP COLUMN deleted_on;
ALTER TABLE builds DROP COLUMN deleted_on, DROP COLUMN missing_since, DROP COLUMN missing_looks;
