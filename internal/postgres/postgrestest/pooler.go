package postgrestest

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Pooler stands in for a pooler in transaction mode before the database: every client
// is given the one session that there is, for as long as its transaction takes.
func Pooler(t testing.TB, database string) string {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	session, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	shared := &sharedSession{frontend: session.Frontend}
	var clients sync.WaitGroup
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	clients.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = client.Close() })
			clients.Go(func() { shared.serve(client) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		_ = session.Conn.Close()
		clients.Wait()
	})
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Host, u.RawQuery = listener.Addr().String(), "sslmode=disable"
	return u.String()
}

type sharedSession struct {
	mu       sync.Mutex
	frontend *pgproto3.Frontend
}

// serve welcomes a client as if it had a session, then passes on what it asks.
func (s *sharedSession) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	client := pgproto3.NewBackend(conn, conn)
	if _, err := client.ReceiveStartupMessage(); err != nil {
		return
	}
	client.Send(&pgproto3.AuthenticationOk{})
	client.Send(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"})
	client.Send(&pgproto3.ParameterStatus{Name: "standard_conforming_strings", Value: "on"})
	client.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if client.Flush() != nil {
		return
	}
	for s.transaction(client) == nil {
	}
}

// transaction passes on messages from the first to when the session is idle again.
func (s *sharedSession) transaction(client *pgproto3.Backend) error {
	message, err := client.Receive()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if _, ends := message.(*pgproto3.Terminate); ends {
			return net.ErrClosed
		}
		s.frontend.Send(message)
		if err := s.frontend.Flush(); err != nil {
			return err
		}
		switch message.(type) {
		case *pgproto3.Query, *pgproto3.Sync:
			idle, err := s.answer(client)
			if err != nil || idle {
				return err
			}
		}
		if message, err = client.Receive(); err != nil {
			return err
		}
	}
}

// answer passes back what the session says until it is ready.
func (s *sharedSession) answer(client *pgproto3.Backend) (idle bool, err error) {
	for {
		message, err := s.frontend.Receive()
		if err != nil {
			return false, err
		}
		client.Send(message)
		if err := client.Flush(); err != nil {
			return false, err
		}
		if ready, ok := message.(*pgproto3.ReadyForQuery); ok {
			return ready.TxStatus == 'I', nil
		}
	}
}
