-- +goose Up

-- The repository an event is of, by what Bitbucket signed: who may see the delivery.
ALTER TABLE deliveries ADD COLUMN workspace_uuid uuid, ADD COLUMN repository_uuid uuid;

-- An empty bound covers nothing; all repositories are **. Older rows stay as they
-- are, since one that covers nothing harms nobody.
ALTER TABLE tokens ADD CONSTRAINT tokens_repository CHECK (repository <> '') NOT VALID;

-- One row that is written to learn whether anything can be written.
CREATE TABLE write_probe (
    id         boolean PRIMARY KEY DEFAULT true CHECK (id),
    written_on timestamptz NOT NULL DEFAULT now()
);
INSERT INTO write_probe DEFAULT VALUES;

-- +goose Down
DROP TABLE write_probe;
ALTER TABLE tokens DROP CONSTRAINT tokens_repository;
ALTER TABLE deliveries DROP COLUMN workspace_uuid, DROP COLUMN repository_uuid;
