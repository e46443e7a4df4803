"""Istio, by its objects in a Kubernetes cluster."""
