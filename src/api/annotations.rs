//! Annotations that are read or written: Istio's, Kubernetes' and our own (`outrigger.dev/…`).
