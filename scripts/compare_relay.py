"""A relay as one writes it in FastAPI: a manager of connections in memory, messages broadcast one by one."""

import asyncio
import uuid
from collections import defaultdict, deque
from datetime import datetime, timezone

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, Field, field_validator

app = FastAPI()
kept = defaultdict(lambda: deque(maxlen=1000))
subscribers = defaultdict(set)


class Message(BaseModel):
    topic: str = Field(min_length=1, max_length=255)
    payload: dict
    ttl: int | None = Field(default=None, gt=0)
    metadata: dict[str, str] | None = None

    @field_validator("topic")
    @classmethod
    def characters(cls, topic):
        if not topic.replace("-", "").replace("_", "").isalnum():
            raise ValueError("Topic must contain only alphanumeric characters, hyphens, and underscores")
        return topic


class Bulk(BaseModel):
    messages: list[Message] = Field(min_length=1, max_length=100)


async def take(message):
    stored = {"message_id": f"msg_{uuid.uuid4().hex}", "topic": message.topic,
              "timestamp": datetime.now(timezone.utc).isoformat()}
    delivery = {"type": "message", **stored, "payload": message.payload, "metadata": message.metadata}
    kept[message.topic].append(delivery)
    targets = list(subscribers[message.topic])
    await asyncio.gather(*(it.send_json(delivery) for it in targets), return_exceptions=True)
    return stored


@app.post("/api/v1/messages", status_code=201)
async def publish(message: Message):
    return await take(message)


@app.post("/api/v1/messages/bulk", status_code=207)
async def publish_bulk(bulk: Bulk):
    results = [{**await take(message), "status": "accepted", "error": None} for message in bulk.messages]
    return {"results": results, "summary": {"total": len(results), "accepted": len(results), "rejected": 0}}


@app.websocket("/ws")
async def websocket(it: WebSocket):
    await it.accept()
    try:
        asked = await it.receive_json()
        for topic in asked["topics"]:
            subscribers[topic].add(it)
        await it.send_json({"type": "subscribed", "topics": asked["topics"]})
        while True:
            await it.receive_json()
    except WebSocketDisconnect:
        pass
    finally:
        for connections in subscribers.values():
            connections.discard(it)
