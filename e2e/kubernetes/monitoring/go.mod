// The definitions of the Prometheus operator's resources: files of its module, which nothing is built of.
module ottla.dev/e2e/kubernetes/monitoring

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
