package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ferry-oci/ferry/registry/server"
)

func TestNewCertificate(t *testing.T) {
	cert, ca, err := server.NewCertificate([]string{"bastion.example", "10.0.0.7", "::1", "127.0.0.1"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(server.New(nil, server.Options{}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatalf("no certificate in %s", ca)
	}
	for name, ok := range map[string]bool{"bastion.example": true, "10.0.0.7": true, "127.0.0.1": true, "::1": true, "other.example": false, "10.0.0.8": false} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}}}
		res, err := client.Get(srv.URL + "/v2/")
		if (err == nil) != ok {
			t.Errorf("as %s: %v", name, err)
		}
		if err == nil {
			res.Body.Close()
		}
		client.CloseIdleConnections()
	}
	if _, err := http.Get(srv.URL + "/v2/"); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("trusted by everybody: %v", err)
	}
	if _, _, err := server.NewCertificate(nil, time.Now()); err == nil {
		t.Error("a certificate for nobody")
	}
}
