# Single message
curl -X POST http://localhost:8080/api/v1/messages \
  -H "Content-Type: application/json" \
  -d '{
    "topic": "notifications",
    "payload": {"user_id": 123, "message": "Hello!"},
    "ttl": 3600,
    "metadata": {"priority": "high"}
  }'

# Bulk messages
curl -X POST http://localhost:8080/api/v1/messages/bulk \
  -H "Content-Type: application/json" \
  -d '{
    "messages": [
      {"topic": "topic1", "payload": {"data": 1}},
      {"topic": "topic2", "payload": {"data": 2}}
    ]
  }'
