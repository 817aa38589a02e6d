-- +goose Up

-- When a merge check last found no finished build in the repository, and so for
-- how long it is looked at more often.
ALTER TABLE repositories ADD COLUMN asked_on timestamptz;

-- +goose Down
ALTER TABLE repositories DROP COLUMN asked_on;
