//! All lanes, and which of them leads to a topic: always the same one where there is one server, in
//! a cluster the one to the primary that serves its slot.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::thread::Thread;

use super::cell::{Berth, Cell};
use super::connect::Address;
use super::handle::Health;
use super::job::Task;
use super::order::Order;
use super::queue::Pending;
use super::slots::{Served, SlotMap, slot_of};
use crate::topic::{Epoch, TopicName};

/// What is known of where things are.
#[derive(Debug)]
struct Routes {
    cells: Vec<Arc<Cell>>,
    /// There are some in a cluster.
    slots: Option<SlotMap>,
}

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    routes: RwLock<Routes>,
    /// Rises with each change of the routes.
    version: AtomicU64,
    /// The bits of the epoch that was told last, and by which node of a cluster.
    epoch: Mutex<Option<(u32, Option<Address>)>>,
    /// Who looks how the cluster is.
    surveyor: OnceLock<Thread>,
    /// Why nothing is known of it, as far as that is known.
    trouble: Mutex<Option<&'static str>>,
}

impl Lanes {
    /// None yet: for the one server, or the primaries of a cluster.
    pub(super) fn new(is_cluster: bool) -> Lanes {
        Lanes {
            routes: RwLock::new(Routes {
                cells: Vec::new(),
                slots: is_cluster.then(SlotMap::unknown),
            }),
            version: AtomicU64::new(0),
            epoch: Mutex::default(),
            surveyor: OnceLock::new(),
            trouble: Mutex::new(None),
        }
    }

    /// Adds the one that there is.
    pub(super) fn add(&self, cell: Arc<Cell>) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.cells.push(cell);
    }

    /// All of them.
    pub(super) fn cells(&self) -> Vec<Arc<Cell>> {
        self.read().cells.clone()
    }

    /// The one that a task is for; `None` while nobody serves it.
    pub(super) fn of_task(&self, task: &Task) -> Option<Arc<Cell>> {
        match task {
            Task::Publish(publication) => self.of_topic(&publication.topic),
            Task::Sync(topic) | Task::Beginning(topic) => self.of_topic(topic),
            Task::Read(read) => self.of_topic(&read.topic),
            Task::Call(call) => self.of_key(call.keys.first().map_or(&[], Vec::as_slice)),
        }
    }

    /// The one that leads to a topic. The name is the hash tag of all its keys and channels.
    pub(super) fn of_topic(&self, topic: &TopicName) -> Option<Arc<Cell>> {
        self.of_key(topic.as_str().as_bytes())
    }

    /// The one that leads to a key.
    pub(super) fn of_key(&self, key: &[u8]) -> Option<Arc<Cell>> {
        let routes = self.read();
        let index = match &routes.slots {
            None => 0,
            Some(slots) => slots.lane(slot_of(key))?,
        };
        routes.cells.get(index).cloned()
    }

    /// Whether another lane than the one of this number is the one for an order.
    pub(super) fn is_astray(&self, index: usize, order: &Order) -> bool {
        if self.read().slots.is_none() {
            return false;
        }
        let cell = match order {
            Order::Job(job) => self.of_task(&job.task),
            Order::Tail(topic) | Order::ReadOn { topic, .. } => self.of_topic(topic),
            Order::Echo(_) => None,
        };
        cell.is_some_and(|cell| cell.index != index)
    }

    /// Gives an order to the lane that it is for. Back comes what no other lane takes.
    pub(super) fn forward(&self, from: usize, pending: Pending) -> Option<Pending> {
        let Order::Job(job) = &pending.order else {
            // Who ordered that listens to the lane it was given to.
            return Some(pending);
        };
        match self.of_task(&job.task).filter(|cell| cell.index != from) {
            Some(cell) => cell.lane.queue.take_over(pending),
            None => Some(pending),
        }
    }

    /// Whether this lane leads to a key.
    pub(super) fn leads_to(&self, index: usize, key: &str) -> bool {
        let cell = self.of_key(key.as_bytes());
        cell.is_some_and(|cell| cell.index == index)
    }

    /// Rises with each change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The bits of the epoch that was told last, and by which node of a cluster.
    pub(super) fn epoch(&self) -> Option<(u32, Option<Address>)> {
        self.lock_epoch().clone()
    }

    /// Tells all who listen the epoch of these bits, which a node, of a cluster the one at this
    /// address, has told.
    pub(super) fn tell_epoch(&self, bits: u32, by: Option<&Address>) {
        for cell in self.cells() {
            if let Some(listener) = cell.listener() {
                listener.epoch(Epoch::new(bits));
            }
        }
        *self.lock_epoch() = Some((bits, by.cloned()));
    }

    fn lock_epoch(&self) -> MutexGuard<'_, Option<(u32, Option<Address>)>> {
        self.epoch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How things are where they are worst.
    pub(super) fn health(&self) -> Health {
        let (cells, is_whole) = {
            let routes = self.read();
            let slots = routes.slots.as_ref();
            (routes.cells.clone(), slots.is_none_or(SlotMap::is_whole))
        };
        if !is_whole {
            let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            let trouble = trouble.filter(|_| cells.is_empty());
            return Health::Away(trouble.unwrap_or("part of the Valkey cluster has no primary"));
        }
        let used = cells.iter().filter(|cell| cell.is_used());
        let health = used.map(|cell| match cell.lane.health() {
            Health::Well if !cell.listener().is_some_and(|it| it.is_heard()) => {
                Health::NoEcho("what is said through Valkey does not come back")
            }
            health => health,
        });
        let worst = health.max_by_key(|health| match health {
            Health::Well => 0,
            Health::NoEcho(_) => 1,
            Health::Connecting(_) => 2,
            Health::Away(_) => 3,
        });
        worst.unwrap_or(Health::Connecting("Valkey is being connected to"))
    }

    /// Says who looks how the cluster is.
    pub(super) fn set_surveyor(&self, thread: Thread) {
        let _ = self.surveyor.set(thread);
    }

    /// A node does not tell how the cluster is.
    pub(super) fn does_not_tell(&self, text: &'static str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.replace(text) != Some(text) {
            tracing::warn!("the Valkey cluster is not known: {text}");
        }
    }

    /// Has somebody look how the cluster is: it is not what was thought.
    pub(super) fn look_again(&self) {
        if let Some(surveyor) = self.surveyor.get() {
            surveyor.unpark();
        }
    }

    /// Where primaries are, as far as is known.
    pub(super) fn addresses(&self) -> Vec<Address> {
        let routes = self.read();
        let slots = routes.slots.as_ref();
        let addresses = slots.map_or(&[][..], SlotMap::addresses);
        addresses.iter().flatten().cloned().collect()
    }

    /// Follows the cluster, with new lanes where there are new primaries, and has topics followed
    /// where they are now.
    ///
    /// # Errors
    /// When a lane cannot be made.
    pub(super) fn follow(
        &self,
        served: &[Served],
        make: impl Fn(usize, Berth) -> io::Result<Arc<Cell>>,
    ) -> io::Result<()> {
        let (mut cells, before) = {
            let routes = self.read();
            (routes.cells.clone(), routes.slots.clone())
        };
        let Some(before) = before else { return Ok(()) };
        let after = before.follow(served);
        if after != before {
            let mut berths = Vec::new();
            for (index, address) in after.addresses().iter().enumerate() {
                let node = address.as_ref().and_then(|address| {
                    // The old tag as long as it will do: with a new one both connect anew.
                    let known = cells.get(index).and_then(|cell| cell.tag());
                    let tag =
                        known.filter(|tag| after.lane(slot_of(tag.as_bytes())) == Some(index));
                    Some(Berth::Node {
                        address: address.clone(),
                        tag: tag.or_else(|| after.tag(index))?,
                    })
                });
                let berth = node.unwrap_or(Berth::Nowhere);
                if index == cells.len() {
                    cells.push(make(index, berth.clone())?);
                }
                berths.push(berth);
            }
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            routes.cells = cells.clone();
            routes.slots = Some(after);
            drop(routes);
            for (cell, berth) in cells.iter().zip(berths) {
                cell.lead_to(berth);
            }
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        self.rehome(&cells);
        Ok(())
    }

    fn rehome(&self, cells: &[Arc<Cell>]) {
        for cell in cells {
            let Some(listener) = cell.listener() else {
                continue;
            };
            let stays = |topic: &TopicName| {
                let owner = self.of_topic(topic);
                owner.is_none_or(|owner| owner.index == cell.index)
            };
            for left in listener.leave(&stays) {
                let owner = self.of_topic(&left.topic);
                if let Some(listener) = owner.as_ref().and_then(|it| it.listener()) {
                    listener.take_over(left);
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }
}
