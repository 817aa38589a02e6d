package postgres_test

import (
	"testing"

	"go.uber.org/goleak"

	"mergegate/internal/postgres/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }
