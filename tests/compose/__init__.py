"""docker-compose.yml and docs/deployment.md, carried out on a real Docker engine (`make e2e-compose`)."""
