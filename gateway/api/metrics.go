package api

import (
	"crypto/subtle"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"civgate/gateway"
)

// Metrics counts what a gateway does, for Prometheus. It is a gateway.Observer.
// Labels hold codes and names of layers only, never anything that a sender chose.
type Metrics struct {
	registry *prometheus.Registry
	answered map[gateway.Code]prometheus.Counter
	other    prometheus.Counter // answers of any other code
	batches  prometheus.Histogram
	seconds  prometheus.Histogram
	lag      prometheus.Histogram
	retries  *prometheus.CounterVec
}

var _ gateway.Observer = (*Metrics)(nil)

// results are the labels of the answers: all there can be, so that each counter
// is there from the start.
var results = map[gateway.Code]string{
	"":                           "accepted",
	gateway.CodeInvalidPayload:   string(gateway.CodeInvalidPayload),
	gateway.CodeUnknownAPIKey:    string(gateway.CodeUnknownAPIKey),
	gateway.CodeOriginNotAllowed: string(gateway.CodeOriginNotAllowed),
	gateway.CodeAddressExcluded:  string(gateway.CodeAddressExcluded),
	gateway.CodeNotVerified:      string(gateway.CodeNotVerified),
	gateway.CodeTooLarge:         string(gateway.CodeTooLarge),
	gateway.CodeRateLimited:      string(gateway.CodeRateLimited),
	gateway.CodeUnavailable:      string(gateway.CodeUnavailable),
}

// NewMetrics makes the counters, and those of the Go runtime and the process.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), answered: make(map[gateway.Code]prometheus.Counter)}
	payloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "civgate_payloads_total", Help: "Payloads answered, by result.",
	}, []string{"result"})
	for code, name := range results {
		m.answered[code] = payloads.WithLabelValues(name)
	}
	m.other = payloads.WithLabelValues("internal")
	m.batches = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "civgate_batch_payloads", Help: "Payloads applied in one transaction.", Buckets: prometheus.ExponentialBuckets(1, 4, 8),
	})
	m.seconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "civgate_batch_seconds", Help: "Seconds from the start of a batch to its commit.", Buckets: prometheus.ExponentialBuckets(0.001, 3, 10),
	})
	m.lag = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "civgate_lag_seconds", Help: "Seconds from the acceptance of the oldest payload of a batch until it was visible.", Buckets: prometheus.ExponentialBuckets(0.002, 4, 10),
	})
	m.retries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "civgate_database_errors_total", Help: "Batches that could not be applied at a first try, by reason.",
	}, []string{"reason"})
	m.retries.WithLabelValues(string(gateway.CodeUnavailable))
	m.registry.MustRegister(payloads, m.batches, m.seconds, m.lag, m.retries,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Answered implements gateway.Observer.
func (m *Metrics) Answered(code gateway.Code, n int) {
	c := m.answered[code]
	if c == nil {
		c = m.other
	}
	c.Add(float64(n))
}

// Applied implements gateway.Observer.
func (m *Metrics) Applied(n int, took, lag time.Duration) {
	m.batches.Observe(float64(n))
	m.seconds.Observe(took.Seconds())
	m.lag.Observe(lag.Seconds())
}

// Retried implements gateway.Observer.
func (m *Metrics) Retried(code gateway.Code) { m.retries.WithLabelValues(string(code)).Inc() }

// Gauge adds a value that is asked for whenever the metrics are read. Name must
// be new; labels come in pairs of name and value.
func (m *Metrics) Gauge(name, help string, value func() float64, labels ...string) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: pairs(labels)}, value))
}

// Counter adds a count that is kept elsewhere and asked for whenever the metrics
// are read; see Gauge.
func (m *Metrics) Counter(name, help string, value func() float64, labels ...string) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: pairs(labels)}, value))
}

func pairs(labels []string) prometheus.Labels {
	out := make(prometheus.Labels, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		out[labels[i]] = labels[i+1]
	}
	return out
}

// Handler serves the metrics to whoever asks.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 5 * time.Second})
}

// MountMetrics registers GET /metrics for those who know the token (RFC 6750:
// Authorization: Bearer).
func (s *Server) MountMetrics(e *echo.Echo, m *Metrics, token string) {
	h := m.Handler()
	e.Match([]string{http.MethodGet, http.MethodHead}, "/metrics", func(c echo.Context) error {
		scheme, given, _ := strings.Cut(c.Request().Header.Get(echo.HeaderAuthorization), " ")
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(strings.TrimSpace(given)), []byte(token)) != 1 {
			c.Response().Header().Set(echo.HeaderWWWAuthenticate, `Bearer realm="metrics"`)
			return echo.NewHTTPError(http.StatusUnauthorized, "the metrics want the token of the setting metrics_token as Authorization: Bearer")
		}
		h.ServeHTTP(c.Response(), c.Request())
		return nil
	})
}
