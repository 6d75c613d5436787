const ws = new WebSocket('ws://localhost:8080/ws');

ws.onopen = () => {
  // Subscribe to topics
  ws.send(JSON.stringify({
    type: 'subscribe',
    topics: ['notifications', 'alerts'],
    client_id: 'client-123'
  }));
};

ws.onmessage = (event) => {
  const data = JSON.parse(event.data);

  if (data.type === 'subscribed') {
    console.log('Subscribed to:', data.topics);
  } else if (data.type === 'message') {
    console.log('Received message:', data.payload);

    // Acknowledge
    ws.send(JSON.stringify({
      type: 'ack',
      message_id: data.message_id
    }));
  }
};

// Send ping every 30 seconds
setInterval(() => {
  ws.send(JSON.stringify({ type: 'ping' }));
}, 30000);
