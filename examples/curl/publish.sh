#!/usr/bin/env bash
# Sends two tasks over HTTP, by the broker's management API. It publishes with mandatory and a confirm, and answers
# {"routed":true} once the broker has the message. Meant for a few tasks: each is a connection of the broker's own.
set -euo pipefail

queue="${1:-default}"
server="${MANAGEMENT_URL:-http://guest:guest@localhost:15672}"
api="${server%/}/api/exchanges/${VHOST:-%2F}"

# The message is a text within the JSON of the API: its quotes are escaped.
publish() { # exchange, routing key, headers, id, message
    answer="$(curl -sS --fail-with-body "$api/$1/publish" -H 'Content-Type: application/json' -d "{
        \"routing_key\": \"$2\",
        \"properties\": {\"delivery_mode\": 2, \"content_type\": \"application/json\",
            \"message_id\": \"$4\", \"timestamp\": $(date +%s), \"headers\": $3},
        \"payload\": \"${5//\"/\\\"}\",
        \"payload_encoding\": \"string\"}")"
    [ "$answer" = '{"routed":true}' ] || { echo "not sent: $answer (is $queue declared?)" >&2; exit 1; }
}

publish amq.default "$queue" '{}' "welcome-$RANDOM$RANDOM" \
    '{"url": "/welcome", "payload": {"user": 7}, "countdown": 20, "max_retries": 5}'
publish "$queue.wait" 'in>20s' "{\"CC\": [\"10s>due:$queue\"]}" "reminder-$RANDOM$RANDOM" \
    '{"url": "/reminder", "payload": {"user": 7}}'
