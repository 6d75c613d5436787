import asyncio
import websockets
import json

async def consume_messages():
    uri = "ws://localhost:8080/ws"

    async with websockets.connect(uri) as websocket:
        # Subscribe
        await websocket.send(json.dumps({
            "type": "subscribe",
            "topics": ["notifications"],
            "client_id": "python-client"
        }))

        # Receive messages
        async for message in websocket:
            data = json.loads(message)

            if data["type"] == "subscribed":
                print(f"Subscribed to: {data['topics']}")
            elif data["type"] == "message":
                print(f"Received: {data['payload']}")

                # Acknowledge
                await websocket.send(json.dumps({
                    "type": "ack",
                    "message_id": data["message_id"]
                }))

asyncio.run(consume_messages())
