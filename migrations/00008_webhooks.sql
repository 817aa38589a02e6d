-- +goose Up

-- Whom to tell of what happens in a workspace.
CREATE TABLE webhook_subscriptions (
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

-- What one of them is told, as it is sent.
CREATE TABLE webhook_messages (
    workspace_uuid  uuid NOT NULL,
    id              bigint GENERATED ALWAYS AS IDENTITY,
    subscription_id bigint NOT NULL REFERENCES webhook_subscriptions (id) ON DELETE CASCADE,
    event           text NOT NULL,
    body            text NOT NULL,
    delivery        text NOT NULL DEFAULT 'pending' CHECK (delivery IN ('pending', 'delivered', 'failed')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_on timestamptz,
    leased_until    timestamptz,
    created_on      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_uuid, id),
    UNIQUE (id)
);
CREATE INDEX webhook_messages_subscription ON webhook_messages (subscription_id, id DESC);
CREATE INDEX webhook_messages_leased ON webhook_messages (subscription_id) WHERE leased_until IS NOT NULL;
CREATE INDEX webhook_messages_created_on ON webhook_messages (created_on);

CREATE TABLE webhook_attempts (
    workspace_uuid uuid NOT NULL,
    message_id     bigint NOT NULL REFERENCES webhook_messages (id) ON DELETE CASCADE,
    attempted_on   timestamptz NOT NULL DEFAULT now(),
    http_status    integer,
    reason         text NOT NULL DEFAULT '',
    duration_ms    integer NOT NULL,
    PRIMARY KEY (message_id, attempted_on)
);

-- The verdict on a pull request that was told last.
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
CREATE INDEX pull_request_verdicts_changed_on ON pull_request_verdicts (changed_on);

-- +goose Down
DROP TABLE pull_request_verdicts, webhook_attempts, webhook_messages, webhook_subscriptions;
