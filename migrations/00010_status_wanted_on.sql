-- +goose Up
-- When what is wanted now was first wanted: what was given up is retried for as
-- long as somebody may look at it, however often it was retried before.
ALTER TABLE commit_statuses ADD COLUMN wanted_on timestamptz NOT NULL DEFAULT now();

-- +goose Down
ALTER TABLE commit_statuses DROP COLUMN wanted_on;
