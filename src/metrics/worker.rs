//! What one worker counts.

use super::cell::{Cell, Durations, Sizes};
use super::labels::{
    self, AckResult, DeadLetter, ERROR_CODES, ErrorType, HANDLERS, METHODS, PollOutcome, STATUSES,
    StorageOperation,
};
use crate::session::{CloseReason, Exchange};
use crate::topic::GapReason;

/// Upper bounds of `http_request_duration_seconds`, in microseconds (SPEC section 10).
pub(super) const EXCHANGE_BUCKETS_MICROS: [u64; 3] = [100_000, 500_000, 1_000_000];

/// Upper bounds of `http_request_duration_highr_seconds`, in microseconds (SPEC section 10).
pub(super) const FINE_EXCHANGE_BUCKETS_MICROS: [u64; 21] = [
    10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000, 1_000_000, 1_500_000,
    2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000, 4_500_000, 5_000_000, 7_500_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// Upper bounds of `proxy_publish_to_delivery_seconds`, in microseconds.
pub(super) const DELIVERY_BUCKETS_MICROS: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// All reasons of gaps, in the order of [`gap_place`].
pub(super) const GAP_REASONS: [&str; 3] = ["trimmed", "lagged", "epoch_changed"];

type PerMethod<T> = [T; METHODS.len()];
type PerHandler<T> = [T; HANDLERS.len()];

/// Counters of one worker: written by that worker alone, read by whoever scrapes.
///
/// Aligned so that no other worker's counters share a cache line (or a pair of them) with it.
#[derive(Default, Debug)]
#[repr(align(128))]
pub struct WorkerMetrics {
    // What every delivery and every turn of the loop touches stands together.
    pub(super) deliveries: Cell,
    pub(super) delivered_bytes: Cell,
    pub(super) received_bytes: Cell,
    pub(super) sent_bytes: Cell,
    pub(super) loop_turns: Cell,
    pub(super) loop_micros: Cell,
    pub(super) mailbox_depth: Cell,
    pub(super) mailbox_items: Cell,
    pub(super) looks_at_all: Cell,
    pub(super) doorbell_rings: Cell,
    pub(super) outbox_bytes: Cell,
    pub(super) http_connections: Cell,
    pub(super) websocket_connections: Cell,
    pub(super) publish_to_delivery: Durations<{ DELIVERY_BUCKETS_MICROS.len() + 1 }>,
    pub(super) fine_durations: Durations<{ FINE_EXCHANGE_BUCKETS_MICROS.len() + 1 }>,
    /// Whether each operation failed, then whether it succeeded.
    pub(super) storage_operations: [[Cell; 2]; StorageOperation::ALL.len()],
    pub(super) idempotent_replays: Cell,
    pub(super) poll_waiters: Cell,
    pub(super) seats: Cell,
    pub(super) seats_pending: Cell,
    pub(super) polls: [Cell; PollOutcome::ALL.len()],
    pub(super) streams: Cell,
    pub(super) acks: [Cell; AckResult::ALL.len()],
    pub(super) nacks: Cell,
    pub(super) redeliveries: Cell,
    pub(super) takeovers: Cell,
    pub(super) dead_letters: [Cell; DeadLetter::ALL.len()],
    pub(super) accepted: Cell,
    pub(super) accept_pauses: Cell,
    pub(super) websockets_opened: Cell,
    pub(super) websockets_closed: Cell,
    pub(super) fell_behind: Cell,
    pub(super) gaps: [Cell; GAP_REASONS.len()],
    pub(super) closed: [Cell; CloseReason::ALL.len()],
    pub(super) request_bytes: PerHandler<Sizes>,
    pub(super) response_bytes: PerHandler<Sizes>,
    pub(super) durations: PerHandler<PerMethod<Durations<{ EXCHANGE_BUCKETS_MICROS.len() + 1 }>>>,
    pub(super) requests: PerHandler<PerMethod<[Cell; STATUSES.len()]>>,
    pub(super) errors: [[Cell; ERROR_CODES.len()]; ErrorType::ALL.len()],
}

impl WorkerMetrics {
    /// Counts an answered HTTP request.
    pub fn exchange(&self, exchange: &Exchange) {
        let handler = labels::place(&HANDLERS, exchange.handler);
        let method = labels::place(&METHODS, exchange.method);
        let status = labels::status_place(exchange.status);
        let micros = exchange.duration_micros;
        self.requests[handler][method][status].add(1);
        self.durations[handler][method].record(&EXCHANGE_BUCKETS_MICROS, micros, 1);
        self.fine_durations
            .record(&FINE_EXCHANGE_BUCKETS_MICROS, micros, 1);
        self.request_bytes[handler].record(exchange.request_bytes);
        self.response_bytes[handler].record(exchange.response_bytes);
    }

    /// Counts a WebSocket whose handshake was answered.
    pub fn websocket_opened(&self) {
        self.websockets_opened.add(1);
    }

    /// Counts a WebSocket that was open and is gone.
    pub fn websocket_closed(&self) {
        self.websockets_closed.add(1);
    }

    /// Counts a connection of any kind that is gone.
    pub fn connection_closed(&self, reason: CloseReason) {
        self.closed[reason as usize].add(1);
    }

    /// Counts requests to the store, all with the same end.
    pub fn storage_operation(&self, operation: StorageOperation, ok: bool, count: u64) {
        self.storage_operations[operation as usize][usize::from(ok)].add(count);
    }

    /// Counts a repeat of a publish request that got the first answer again.
    pub fn idempotent_replay(&self) {
        self.idempotent_replays.add(1);
    }

    /// Counts an error that a client was told. A code that SPEC does not name counts as `OTHER`.
    pub fn error(&self, error_type: ErrorType, code: &'static str) {
        self.errors[error_type as usize][labels::place(&ERROR_CODES, code)].add(1);
    }

    /// Counts deliveries, and the bytes of their frames.
    pub fn delivered(&self, messages: u64, bytes: u64) {
        self.deliveries.add(messages);
        self.delivered_bytes.add(bytes);
    }

    /// Seats at consumers behind memory, and messages pending for them.
    pub fn seats(&self, seats: u64, pending: u64) {
        self.seats.set(seats);
        self.seats_pending.set(pending);
    }

    /// Polls that wait for messages now.
    pub fn polls_waiting(&self, polls: usize) {
        self.poll_waiters.set(polls as u64);
    }

    /// How many polls wait, as this worker said last.
    pub fn poll_waiters(&self) -> u64 {
        self.poll_waiters.get()
    }

    /// Counts a poll that ended, whether it had to wait or not.
    pub fn poll_ended(&self, outcome: PollOutcome) {
        self.polls[outcome as usize].add(1);
    }

    /// Streams that are open now.
    pub fn streams_open(&self, streams: usize) {
        self.streams.set(streams as u64);
    }

    /// Counts messages that a client acknowledged, all with the same result.
    pub fn acknowledged(&self, result: AckResult, messages: u64) {
        self.acks[result as usize].add(messages);
    }

    /// Counts messages that a client gave back.
    pub fn nacked(&self, messages: u64) {
        self.nacks.add(messages);
    }

    /// Counts deliveries of messages that had been delivered before and not acknowledged.
    pub fn redelivered(&self, messages: u64) {
        self.redeliveries.add(messages);
    }

    /// Counts a consumer that went on on a newer connection, while an older one was open.
    pub fn taken_over(&self) {
        self.takeovers.add(1);
    }

    /// Counts messages whose deliveries were used up.
    pub fn dead_letters(&self, outcome: DeadLetter, messages: u64) {
        self.dead_letters[outcome as usize].add(messages);
    }

    /// Counts bytes read from clients.
    pub fn bytes_received(&self, bytes: u64) {
        self.received_bytes.add(bytes);
    }

    /// Counts bytes written to clients.
    pub fn bytes_sent(&self, bytes: u64) {
        self.sent_bytes.add(bytes);
    }

    /// Counts a gap that a subscriber was told.
    pub fn gap(&self, reason: GapReason) {
        self.gaps[gap_place(reason)].add(1);
    }

    /// Counts a subscriber that left the live group and reads on from a place of its own.
    pub fn subscriber_fell_behind(&self) {
        self.fell_behind.add(1);
    }

    /// Counts deliveries by the time from publishing to the write, in microseconds.
    pub fn publish_to_delivery(&self, micros: u64, deliveries: u64) {
        self.publish_to_delivery
            .record(&DELIVERY_BUCKETS_MICROS, micros, deliveries);
    }

    /// Counts a turn of the loop: the microseconds between two sleeps.
    pub fn loop_iteration(&self, busy_micros: u64) {
        self.loop_turns.add(1);
        self.loop_micros.add(busy_micros);
    }

    /// Connections that are open now.
    pub fn connections_open(&self, http: usize, websockets: usize) {
        self.http_connections.set(http as u64);
        self.websocket_connections.set(websockets as u64);
    }

    /// Bytes that wait for this worker's clients now.
    pub fn outbox_bytes(&self, bytes: u64) {
        self.outbox_bytes.set(bytes);
    }

    /// Items that a look at the mailboxes took out. A look that found none counts for nothing.
    pub fn mailbox_depth(&self, items: u64) {
        if items > 0 {
            self.mailbox_depth.set(items);
            self.mailbox_items.add(items);
        }
    }

    /// Counts a look at all topics, because a mailbox was full.
    pub fn look_at_all(&self) {
        self.looks_at_all.add(1);
    }

    /// Counts a peer that this worker woke.
    pub fn doorbell_rung(&self) {
        self.doorbell_rings.add(1);
    }

    /// Counts an accepted connection.
    pub fn accepted(&self) {
        self.accepted.add(1);
    }

    /// Counts a time that this worker stopped accepting.
    pub fn accept_paused(&self) {
        self.accept_pauses.add(1);
    }
}

/// Place of a reason in [`GAP_REASONS`].
fn gap_place(reason: GapReason) -> usize {
    match reason {
        GapReason::Trimmed => 0,
        GapReason::Lagged => 1,
        GapReason::EpochChanged => 2,
    }
}
