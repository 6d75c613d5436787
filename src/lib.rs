//! Pulsar Proxy: JSON messages in over HTTP, out over WebSocket.
//!
//! A topic is a short log in memory, and a consumer is a position in it. Publishing appends to the
//! log and tells each interested worker once that there is news; the worker reads on from where it
//! stopped and writes the same framed bytes to each of its subscribers.
//!
//! # Threads
//!
//! ```text
//!  main ─ server::start, then waits for signals and failed workers       signals     log writer
//!    │ Lifecycle, wakers
//!    ▼
//!  ┌ worker 0 ─────────────────────┐        ┌ worker 1 ─────────────────────┐     … worker N-1
//!  │ mio::Poll, listener           │        │ mio::Poll, listener           │
//!  │ connections, each a Session   │  ring  │ connections, each a Session   │
//!  │ subscriptions, fan-out, wheel ├───────►│ subscriptions, fan-out, wheel │     N×(N-1) mailboxes
//!  └──────────────┬────────────────┘  bell  └───────────────┬───────────────┘
//!                 │ publish                                 │ take_news, read
//!                 ▼                                         ▼
//!  TopicStore: locked shards of topics: log, who is interested, who has been told
//! ```
//!
//! Connections never move between workers. A mailbox carries numbers of topics, never messages: the
//! log is the truth. A doorbell wakes a worker that sleeps, and costs nothing while it is awake.
//!
//! # The life of a message
//!
//! 1. [`worker`] reads the socket and feeds the connection's [`session`], which finds the request by
//!    [`http`] and its meaning by [`api`].
//! 2. The body is scanned once and framed once: WebSocket header and delivery JSON, with room for
//!    the id, in one allocation ([`topic::Draft`]). The session returns [`session::Effect::Publish`].
//! 3. [`topic::TopicStore::publish`], under the lock of one shard: sequence, position and id, append,
//!    evict, and collect the workers that have no news of this topic under way.
//! 4. Their mailboxes get the topic ([`fanout::Sender::push`]); sleeping ones are woken; the
//!    publisher gets its answer.
//! 5. Each such worker, in slices between looks at its sockets: [`topic::TopicStore::take_news`],
//!    then one `writev` for each subscriber. What a socket refuses waits in its outbox by reference.
//! 6. A subscriber whose outbox is full keeps its place only, and reads on from the log when its
//!    socket drains. If the log has moved past it, `on_lag` decides.
//! 7. Age, count, bytes or `ttl` take the message out of the log; its bytes leave the budget with
//!    the last reference.
//!
//! # Modules
//!
//! | module | is |
//! |---|---|
//! | [`http`], [`ws`] | codecs: functions of byte slices |
//! | [`api`] | what bytes ask for, and the JSON of answers |
//! | [`access`] | credentials, and what they allow |
//! | [`session`] | a client's conversation without its socket: bytes and time in, bytes and effects out |
//! | [`topic`] | messages in memory: names, ids, logs, interest, budget; no sockets, no threads |
//! | [`idempotency`] | first answers to publish requests that a client may repeat |
//! | [`fanout`] | mailboxes and doorbells between workers, inboxes for what other threads answer |
//! | [`valkey`] | the tier behind memory: messages and consumers on Valkey, by threads of its own |
//! | [`quota`] | how much each client may ask for in a minute |
//! | [`edge`] | who a client is when balancers stand before the server |
//! | [`tls`] | certificates from files, and TLS between a socket and what is said on it |
//! | [`spool`] | publications in a local file while the store that they are for is away |
//! | [`worker`] | the loop; the only code that does I/O with clients |
//! | [`documents`] | what describes the interface: OpenAPI, AsyncAPI and their pages |
//! | [`service`] | files that are read beside the workers |
//! | [`server`] | binds, builds, starts, stops: who talks to whom |
//! | [`metrics`], [`logging`] | what operators see |
//! | [`client`] | what the commands need that talk to a server |
//! | [`mod@bench`] | load for a server, and what it made of it |
//! | [`config`], [`cli`] | every setting with its bounds; where they are typed |
//! | [`clock`], [`moment`] | the clocks, and one reading of the clocks, handed to all that need the time |
//!
//! Dependencies point downwards only; `tests/layering.rs` checks that. `docs/ARCHITECTURE.md` goes
//! on from here.

pub mod access;
pub mod api;
pub mod bench;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod documents;
pub mod edge;
pub mod fanout;
pub mod http;
pub mod idempotency;
pub mod logging;
pub mod metrics;
pub mod moment;
pub mod quota;
pub mod server;
pub mod service;
pub mod session;
pub mod spool;
pub mod tls;
pub mod topic;
pub mod valkey;
pub mod worker;
pub mod ws;
