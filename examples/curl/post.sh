#!/usr/bin/env bash
# Sends a task over HTTP to `taskqueue web`, without AMQP: the answer comes once the broker has confirmed the task.
# The key is the id of the task. Each try has the same one, so that the receiver can tell a duplicate.
set -euo pipefail

queue="${1:-default}"
server="${TASKQUEUE_WEB:-http://127.0.0.1:8181}"
token="${TASKQUEUE_WEB_TOKEN:?is the token of taskqueue web}"
key="welcome-$RANDOM$RANDOM"

# The token comes by a file, as everybody on the machine sees the arguments of a command.
# 503 says that the broker is away or takes nothing: curl tries again after Retry-After.
curl -sS --fail-with-body --retry 5 --retry-connrefused --max-time 60 "${server%/}/queues/$queue/tasks" \
    -H @<(echo "Authorization: Bearer $token") \
    -H 'Content-Type: application/json' -H "Idempotency-Key: $key" \
    -d '{"url": "/welcome", "payload": {"user": 7}, "countdown": 20, "max_retries": 5}' ||
    { echo "not sent, or not known: send again with the key $key" >&2; exit 1; }
