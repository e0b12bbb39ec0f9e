#!/bin/sh
# Arguments are those of N8N, as in the official image.
exec n8n "$@"
