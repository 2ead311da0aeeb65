package cache_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"civgate/gateway/cache"
	"civgate/gateway/cache/redistest"
)

// TestTLS: rediss:// checks the server's certificate against the authorities
// that SSL_CERT_FILE names. (Go reads them once a process; no other test here
// needs any.)
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, secret := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM, secretPEM := selfSigned()
	for file, text := range map[string][]byte{cert: certPEM, secret: secretPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSL_CERT_FILE", cert)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	_ = l.Close()
	s := redistest.New(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", secret, "--tls-auth-clients", "no")

	r := open(t, cache.Options{URL: "rediss://127.0.0.1:" + port})
	remember(r, key(1, "x"), 7, 1)
	if o := open(t, cache.Options{URL: s.URL()}); !knows(o, key(1, "x"), 7, 1) {
		t.Error("it didn't arrive")
	}
	// The certificate is for the address, not for the name.
	wrong := openAnyway(t, quick("rediss://localhost:"+port))
	for range 3 {
		remember(wrong, key(1, "x"), 8, 1)
	}
	if st := wrong.Stats(); !st.CircuitOpen || st.Subscribed {
		t.Errorf("a certificate of somebody else is believed: %+v", st)
	}
}

// selfSigned returns a certificate for 127.0.0.1 and its key, the same all the
// time, as PEM.
var selfSigned = sync.OnceValues(func() (cert, secret []byte) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(err)
	key, err := x509.MarshalPKCS8PrivateKey(private)
	must(err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
})
