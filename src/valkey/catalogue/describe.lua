-- Describes a topic.
-- KEYS: the stream; the position of the newest message; what was said of the topic.
-- Returns the facts.
return facts(KEYS[1], KEYS[2], KEYS[3])
