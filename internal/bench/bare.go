package main

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// bareSchema is what the bare program needs: one lookup, one log as wide as mergegate's,
// one inbox.
const bareSchema = `
CREATE TABLE builds (workspace uuid, repository uuid, pull_request bigint, head text, build_id bigint NOT NULL, project_id bigint NOT NULL, project text NOT NULL,
	state text NOT NULL, version text NOT NULL, destination text NOT NULL, url text NOT NULL, created_on timestamptz, finished_on timestamptz,
	PRIMARY KEY (workspace, repository, pull_request, head));
CREATE TABLE decisions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, workspace uuid NOT NULL, repository uuid NOT NULL, pull_request bigint NOT NULL,
	trigger text NOT NULL, success boolean NOT NULL, code text NOT NULL, message text NOT NULL, head text NOT NULL, destination text NOT NULL,
	builds bigint[] NOT NULL, inputs jsonb, duration_ms int NOT NULL, created_on timestamptz NOT NULL DEFAULT now());
CREATE TABLE deliveries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, build_id bigint NOT NULL, body bytea NOT NULL, received_on timestamptz NOT NULL DEFAULT now());
`

// bareConnections are as many as mergegate has for the same work.
const bareConnections = 16

// bareInputs are as many bytes as mergegate keeps of what a decision was made on.
const bareInputs = 600

type bareBuild struct {
	BuildID     int64     `json:"build_id"`
	ProjectID   int64     `json:"project_id"`
	Project     string    `json:"project"`
	State       string    `json:"state"`
	Version     string    `json:"version"`
	Destination string    `json:"destination_branch"`
	URL         string    `json:"url"`
	CreatedOn   time.Time `json:"created_on"`
	FinishedOn  time.Time `json:"finished_on"`
}

type bareUUID struct {
	UUID string `json:"uuid"`
}

// bareEvent is what is used of a merge check. encoding/json prefers a field of the exact name.
type bareEvent struct {
	Workspace  bareUUID `json:"workspace"`
	Repository bareUUID `json:"repository"`
	Named      struct {
		ID int64 `json:"id"`
	} `json:"pullrequest"`
	Trigger struct {
		Type string `json:"type"`
	} `json:"trigger"`
	Brought struct {
		Source struct {
			Commit string `json:"commit"`
		} `json:"source"`
		Destination struct {
			Branch string `json:"branch"`
		} `json:"destination"`
	} `json:"pullRequest"`
}

// bareStore is what the bare program does with PostgreSQL, one at a time or in groups.
type bareStore interface {
	find(ctx context.Context, key bareKey) (bareBuild, error)
	decide(ctx context.Context, d bareDecision) error
	receive(ctx context.Context, d bareDelivery) (id int64, err error)
}

type bareKey struct {
	workspace, repository, head string
	pullRequest                 int64
}

type bareDecision struct {
	bareKey
	trigger, message, destination string
	success                       bool
	build                         int64
	inputs                        []byte
	milliseconds                  int64
}

type bareDelivery struct {
	build int64
	body  []byte
}

// runBare is the least program that does a merge check's essential work: a token, a lookup,
// a decision that is kept. It reads its keys from jwks and serves on address.
func runBare(ctx context.Context, address, url, jwks string, grouped bool) error {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return err
	}
	config.MaxConns = bareConnections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	keys, err := readKeys(ctx, jwks)
	if err != nil {
		return err
	}
	b := bare{store: single{pool}, keys: keys, parser: jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer("forge/invocation-token"), jwt.WithExpirationRequired())}
	if grouped {
		b.store = newGrouped(pool)
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.POST("/forge/merge-check", b.mergeCheck)
	engine.POST("/webhooks/appveyor", b.webhook)
	engine.GET("/memory", func(c *gin.Context) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c.String(http.StatusOK, "go_memstats_mallocs_total %d\ngo_memstats_alloc_bytes_total %d\n", m.Mallocs, m.TotalAlloc)
	})
	server := &http.Server{Addr: address, Handler: engine, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}

type bare struct {
	store  bareStore
	keys   map[string]*rsa.PublicKey
	parser *jwt.Parser
}

func (b bare) mergeCheck(c *gin.Context) {
	start := time.Now()
	var claims struct {
		jwt.RegisteredClaims
		Context struct {
			Workspace string `json:"workspaceId"`
		} `json:"context"`
	}
	_, err := b.parser.ParseWithClaims(strings.TrimPrefix(c.GetHeader("Authorization"), "Bearer "), &claims, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string) // "" is the id of no key
		return b.keys[id], nil
	})
	if err != nil {
		c.String(http.StatusUnauthorized, err.Error())
		return
	}
	body, err := io.ReadAll(c.Request.Body)
	var event bareEvent
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	if err != nil || strings.Trim(event.Workspace.UUID, "{}") != strings.Trim(claims.Context.Workspace, "{}") {
		c.Status(http.StatusBadRequest)
		return
	}
	key := bareKey{
		workspace: strings.Trim(event.Workspace.UUID, "{}"), repository: strings.Trim(event.Repository.UUID, "{}"),
		head: event.Brought.Source.Commit, pullRequest: event.Named.ID,
	}
	build, err := b.store.find(c, key)
	if err != nil {
		c.JSON(http.StatusOK, gin.H{"success": false, "message": err.Error()})
		return
	}
	d := bareDecision{
		bareKey: key, trigger: event.Trigger.Type, destination: build.Destination, build: build.BuildID,
		success: build.State == "success" && build.Destination == event.Brought.Destination.Branch,
		message: "AppVeyor built this head: " + build.Project + " " + build.Version + " " + build.State + ", " + build.URL,
	}
	d.inputs, err = json.Marshal(map[string]any{
		"pull_request": map[string]any{"id": key.pullRequest, "state": "OPEN", "head": key.head, "destination_branch": build.Destination},
		"builds":       []bareBuild{build}, "now": start, "head_seen": start, "padding": strings.Repeat("x", bareInputs),
	})
	d.milliseconds = time.Since(start).Milliseconds()
	if err == nil {
		err = b.store.decide(c, d)
	}
	if err != nil {
		c.String(http.StatusInternalServerError, err.Error())
		return
	}
	c.JSON(http.StatusOK, gin.H{"success": d.success, "message": d.message})
}

func (b bare) webhook(c *gin.Context) {
	if c.GetHeader("Authorization") != "Bearer "+webhookSecret {
		c.Status(http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(c.Request.Body)
	var event struct {
		EventData struct {
			BuildID int64 `json:"buildId"`
		} `json:"eventData"`
	}
	if err == nil {
		err = json.Unmarshal(body, &event)
	}
	if err != nil {
		c.Status(http.StatusBadRequest)
		return
	}
	id, err := b.store.receive(c, bareDelivery{build: event.EventData.BuildID, body: body})
	if err != nil {
		c.String(http.StatusInternalServerError, err.Error())
		return
	}
	c.JSON(http.StatusAccepted, gin.H{"delivery": strconv.FormatInt(id, 10)})
}

// single asks PostgreSQL for each request by itself.
type single struct{ pool *pgxpool.Pool }

func (s single) find(ctx context.Context, k bareKey) (b bareBuild, err error) {
	err = s.pool.QueryRow(ctx, `SELECT build_id, project_id, project, state, version, destination, url, created_on, finished_on FROM builds
		WHERE workspace = $1 AND repository = $2 AND pull_request = $3 AND head = $4`, k.workspace, k.repository, k.pullRequest, k.head).
		Scan(&b.BuildID, &b.ProjectID, &b.Project, &b.State, &b.Version, &b.Destination, &b.URL, &b.CreatedOn, &b.FinishedOn)
	return b, err
}

func (s single) decide(ctx context.Context, d bareDecision) error {
	_, err := s.pool.Exec(ctx, `INSERT INTO decisions (workspace, repository, pull_request, trigger, success, code, message, head, destination, builds, inputs, duration_ms)
		VALUES ($1, $2, $3, $4, $5, 'passed', $6, $7, $8, $9, $10, $11)`,
		d.workspace, d.repository, d.pullRequest, d.trigger, d.success, d.message, d.head, d.destination, []int64{d.build}, d.inputs, d.milliseconds)
	return err
}

func (s single) receive(ctx context.Context, d bareDelivery) (id int64, err error) {
	err = s.pool.QueryRow(ctx, `INSERT INTO deliveries (build_id, body) VALUES ($1, $2) RETURNING id`, d.build, d.body).Scan(&id)
	return id, err
}

// readKeys reads Forge's keys once.
func readKeys(ctx context.Context, url string) (map[string]*rsa.PublicKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	var set struct {
		Keys []struct{ Kid, N, E string } `json:"keys"`
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		n, nErr := base64.RawURLEncoding.DecodeString(k.N)
		e, eErr := base64.RawURLEncoding.DecodeString(k.E)
		if nErr != nil || eErr != nil {
			return nil, fmt.Errorf("key %s isn't an RSA key", k.Kid)
		}
		keys[k.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return keys, nil
}
