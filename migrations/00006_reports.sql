-- +goose Up

-- Results that build scripts reported. They are apart from what AppVeyor
-- confirmed: whoever can write a report must not be able to stand where AppVeyor's
-- answer would.
CREATE TABLE reports (LIKE builds INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE reports
    ALTER COLUMN id SET DEFAULT nextval('builds_id_seq'), -- one series: an id names one of both
    ALTER COLUMN confirmed_by SET DEFAULT 'report',
    ADD COLUMN attempt integer NOT NULL DEFAULT 1,
    ADD PRIMARY KEY (workspace_uuid, repository_uuid, build_id),
    ADD UNIQUE (id);
CREATE INDEX reports_pull_request ON reports (workspace_uuid, repository_uuid, pull_request_id, build_id DESC);
CREATE INDEX reports_source_commit ON reports (workspace_uuid, repository_uuid, source_commit text_pattern_ops);
CREATE INDEX reports_created_on ON reports (workspace_uuid, repository_uuid, created_on);

-- A project that so far only build scripts have told of: it counts where a policy
-- accepts its reports.
ALTER TABLE projects ADD COLUMN reports_only boolean NOT NULL DEFAULT false;

-- A token reports for one project and one repository: those it is made for, else
-- those of its first report.
ALTER TABLE tokens ADD COLUMN report_project bigint, ADD COLUMN report_repository uuid;

-- +goose Down
ALTER TABLE tokens DROP COLUMN report_project, DROP COLUMN report_repository;
ALTER TABLE projects DROP COLUMN reports_only;
DROP TABLE reports;
