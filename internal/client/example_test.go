package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"mergegate/api"
	"mergegate/internal/client"
)

// service answers like mergegate: it has two builds, one a page, and shows them to who has the token.
func service() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := any(api.Problem{Title: "Not Found", Status: http.StatusNotFound, Code: "not_found"})
		switch {
		case r.Header.Get("Authorization") != "Bearer token":
			answer = api.Problem{Title: "Unauthorized", Status: http.StatusUnauthorized, Code: "unauthorized", Detail: "the token is not known"}
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != "/api/v1/repositories/acme/widgets/builds":
			w.WriteHeader(http.StatusNotFound)
		case r.FormValue("before") == "":
			next := "https://gate.example.com" + r.URL.Path + "?before=2&" + r.URL.RawQuery
			answer = api.Page[api.Build]{Values: []api.Build{{ID: "2", Version: "1.0.2", State: "failed"}}, Next: next}
		default:
			answer = api.Page[api.Build]{Values: []api.Build{{ID: "1", Version: "1.0.1", State: "failed"}}}
		}
		_ = json.NewEncoder(w).Encode(answer) // a caller that is gone reads no answer
	}))
}

// Listing what failed: pages are followed until there is enough.
func Example() {
	server := service()
	defer server.Close()

	c := client.New(server.URL, "token")
	builds, more, err := c.Builds(context.Background(), "acme/widgets", client.BuildFilter{State: "failed"}, 20)
	if err != nil {
		log.Fatal(err)
	}
	for _, build := range builds {
		fmt.Println(build.Version, build.State)
	}
	fmt.Println(more)
	// Output:
	// 1.0.2 failed
	// 1.0.1 failed
	// false
}

// What the service refuses says what helps.
func ExampleError() {
	server := service()
	defer server.Close()

	_, err := client.New(server.URL, "another").Build(context.Background(), "1")
	fmt.Println(err)
	_, err = client.New(server.URL, "token").Build(context.Background(), "1")
	fmt.Println(client.IsNotFound(err))
	// Output:
	// the token is not known; mergegate token create makes one where the service runs, to be given as MERGEGATE_TOKEN or MERGEGATE_TOKEN_FILE
	// true
}

// A command asks the same of its own process, without a network.
func ExampleWithTransport() {
	server := service()
	defer server.Close()

	c := client.WithTransport("http://mergegate", "token", handler{server.Config.Handler})
	builds, more, err := c.Builds(context.Background(), "acme/widgets", client.BuildFilter{}, 1)
	fmt.Println(len(builds), more, err)
	// Output:
	// 1 true <nil>
}

// handler answers requests in place of a network.
type handler struct{ http.Handler }

func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}
