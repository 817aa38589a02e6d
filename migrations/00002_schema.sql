-- +goose Up
create table repositories (workspace_uuid uuid not null, repository_uuid uuid not null, primary key (workspace_uuid, repository_uuid));

-- +goose Down
drop table repositories;
