//! What waits for a lane.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::job::Task;
use super::order::Order;

/// Most orders of one pipeline: an answer waits for all that stand in front of it.
const BATCH_ORDERS_MAX: usize = 1_000;
/// Most bytes of one pipeline, there and back, unless a single order has more.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Bytes that an order costs beside what it carries.
const ORDER_BYTES: usize = 256;
/// Bytes of a stream that one order reads for those who follow topics.
pub(super) const READ_ON_BYTES_MAX: usize = 1 << 20;

/// An order and how far it has come.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) order: Order,
    /// Monotonic microseconds.
    pub(super) deadline: u64,
    /// That its messages are not stored yet is known on this connection.
    pub(super) is_sought: bool,
}

impl Pending {
    /// An order that nothing was done about yet.
    pub(super) fn new(order: Order, deadline: u64) -> Pending {
        Pending {
            order,
            deadline,
            is_sought: false,
        }
    }

    /// Bytes that count against the bound of what may wait.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.order {
            Order::Job(job) => match &job.task {
                Task::Publish(publication) => {
                    let parts = publication.messages.iter().map(|one| one.stored_part.len());
                    parts.map(|bytes| bytes + ORDER_BYTES).sum()
                }
                _ => 0,
            },
            _ => 0,
        }
    }

    /// Bytes that it may bring into a pipeline.
    fn moved_bytes(&self) -> usize {
        let read = match &self.order {
            Order::ReadOn { .. } => READ_ON_BYTES_MAX,
            Order::Job(job) => match &job.task {
                Task::Read(read) => read.bytes_max,
                _ => 0,
            },
            _ => 0,
        };
        self.held_bytes()
            .saturating_add(read)
            .saturating_add(ORDER_BYTES)
    }
}

/// What a lane has been given to do next.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) orders: VecDeque<Pending>,
    pub(super) echo: Option<u64>,
    /// Nothing will come any more, and what is left has until then, in monotonic microseconds.
    pub(super) stop_at: Option<u64>,
}

/// Orders in line, from any thread to one.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<Batch>,
    bell: Condvar,
}

impl Queue {
    /// Puts an order at the end; `false` when the lane is closed.
    #[must_use]
    pub(super) fn push(&self, pending: Pending) -> bool {
        let mut state = self.lock();
        if state.stop_at.is_some() {
            return false;
        }
        state.orders.push_back(pending);
        drop(state);
        self.bell.notify_one();
        true
    }

    /// Puts an order at the end that was another lane's; back it comes when this one is closed.
    pub(super) fn take_over(&self, mut pending: Pending) -> Option<Pending> {
        let mut state = self.lock();
        if state.stop_at.is_some() {
            return Some(pending);
        }
        pending.is_sought = false;
        state.orders.push_back(pending);
        drop(state);
        self.bell.notify_one();
        None
    }

    /// Has the newest number said.
    pub(super) fn echo(&self, number: u64) {
        let mut state = self.lock();
        state.echo = state.echo.max(Some(number));
        drop(state);
        self.bell.notify_one();
    }

    /// Puts orders back in front of all others, in their order.
    pub(super) fn put_back(&self, orders: &mut VecDeque<Pending>) {
        let mut state = self.lock();
        orders.append(&mut state.orders);
        std::mem::swap(&mut state.orders, orders);
    }

    /// Takes what fits into one pipeline; waits for something, but not longer than `patience`.
    pub(super) fn take(&self, patience: Duration) -> Batch {
        let state = self.lock();
        let is_idle = |state: &mut Batch| {
            state.orders.is_empty() && state.echo.is_none() && state.stop_at.is_none()
        };
        let waited = self.bell.wait_timeout_while(state, patience, is_idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fitting = state
            .orders
            .iter()
            .take(BATCH_ORDERS_MAX)
            .take_while(|one| {
                let before = bytes;
                bytes += one.moved_bytes();
                before == 0 || bytes <= BATCH_BYTES_MAX
            });
        let fitting = fitting.count();
        let rest = state.orders.split_off(fitting);
        Batch {
            orders: std::mem::replace(&mut state.orders, rest),
            echo: state.echo.take(),
            stop_at: state.stop_at,
        }
    }

    /// Takes out all orders of which `is_over` says so.
    pub(super) fn remove(&self, is_over: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        let mut state = self.lock();
        if !state.orders.iter().any(&is_over) {
            return Vec::new();
        }
        let (over, rest) = state.orders.drain(..).partition::<Vec<_>, _>(is_over);
        state.orders = rest.into();
        over
    }

    /// Lets time pass, unless the lane is closed. When what is left must be done, if it is.
    pub(super) fn pause(&self, time: Duration) -> Option<u64> {
        let state = self.lock();
        let waited = self
            .bell
            .wait_timeout_while(state, time, |state| state.stop_at.is_none());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.stop_at
    }

    /// Takes no more orders; what is in line has until `stop_at`, in monotonic microseconds.
    pub(super) fn stop(&self, stop_at: u64) {
        self.lock().stop_at.get_or_insert(stop_at);
        self.bell.notify_all();
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().orders.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::{Position, TopicName};

    fn tail(deadline: u64) -> Pending {
        Pending::new(Order::Tail(TopicName::parse("t").unwrap()), deadline)
    }

    fn deadlines(batch: &Batch) -> Vec<u64> {
        batch.orders.iter().map(|one| one.deadline).collect()
    }

    #[test]
    fn orders_come_in_line_and_in_bounded_batches() {
        let queue = Queue::default();
        for deadline in 0..1_500 {
            assert!(queue.push(tail(deadline)));
        }
        let mut first = queue.take(Duration::ZERO);
        assert_eq!(deadlines(&first), (0..1_000).collect::<Vec<_>>());
        queue.put_back(&mut first.orders);
        assert!(first.orders.is_empty());
        assert_eq!(deadlines(&queue.take(Duration::ZERO))[..3], [0, 1, 2]);
        assert_eq!(deadlines(&queue.take(Duration::ZERO)).len(), 500);
    }

    #[test]
    fn large_reads_share_no_pipeline_with_many_others() {
        let queue = Queue::default();
        for deadline in 0..10 {
            let topic = TopicName::parse("t").unwrap();
            let behind = Position::ZERO;
            assert!(queue.push(Pending::new(Order::ReadOn { topic, behind }, deadline)));
        }
        assert_eq!(queue.take(Duration::ZERO).orders.len(), 3);
    }

    #[test]
    fn the_newest_echo_is_said_once() {
        let queue = Queue::default();
        queue.echo(7);
        queue.echo(6);
        assert_eq!(queue.take(Duration::from_secs(60)).echo, Some(7));
        assert_eq!(queue.take(Duration::ZERO).echo, None);
    }

    #[test]
    fn what_is_over_is_taken_out() {
        let queue = Queue::default();
        for deadline in [5, 1, 6, 2] {
            assert!(queue.push(tail(deadline)));
        }
        let over = queue.remove(|one| one.deadline < 5);
        assert_eq!(
            over.iter().map(|one| one.deadline).collect::<Vec<_>>(),
            [1, 2]
        );
        assert_eq!(deadlines(&queue.take(Duration::ZERO)), [5, 6]);
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_has_and_takes_no_more() {
        let queue = Queue::default();
        assert!(queue.push(tail(1)));
        queue.stop(9);
        assert!(!queue.push(tail(2)) && !queue.is_empty());
        assert_eq!(queue.pause(Duration::from_secs(60)), Some(9));
        let batch = queue.take(Duration::from_secs(60));
        assert_eq!((deadlines(&batch), batch.stop_at), (vec![1], Some(9)));
        assert!(queue.is_empty());
    }
}
