"""What leads from outside of a cluster to its Services: Ingresses, routes, and the maps of ingress controllers."""
