//! What a lane does with orders whose slot is elsewhere, or on its way: the first go to the lane that
//! leads there, the others wait a little, and hold up nobody.
//!
//! While a slot is on its way, the old primary answers `ASK` for keys that have gone before. They are
//! not followed: what is published at the new one before that has the slot is not said on the
//! channel that subscribers hear.

use std::sync::Arc;
use std::time::Duration;

use super::job::Refused;
use super::lane::Carrier;
use super::queue::Pending;
use crate::moment::micros;

/// How long orders wait whose slot is elsewhere or on its way, before they are tried again.
const ASIDE: Duration = Duration::from_millis(20);

impl Carrier {
    /// The node has not done an order, since its slot is not there any more, or not quite.
    pub(super) fn put_aside(&mut self, pending: Pending) {
        if self.aside.is_empty() {
            self.aside_until = self.now() + micros(ASIDE);
        }
        self.aside.push_back(pending);
    }

    /// How long nothing is due.
    pub(super) fn patience(&self) -> Duration {
        let due = if self.aside.is_empty() {
            self.canary_at
        } else {
            self.canary_at.min(self.aside_until)
        };
        Duration::from_micros(due.saturating_sub(self.now()))
    }

    /// Puts what was put aside in line again when its time has come, and gives orders to the lanes
    /// that they are for now.
    pub(super) fn sort_out(&mut self) {
        let lanes = Arc::clone(&self.office.lanes);
        let routes = lanes.version();
        let is_new = std::mem::replace(&mut self.routes, routes) != routes;
        let is_due = !self.aside.is_empty() && (is_new || self.aside_until <= self.now());
        if is_due {
            self.cell.lane.queue.put_back(&mut self.aside);
        } else if !is_new {
            return;
        }
        let index = self.cell.index;
        let is_stray = |pending: &Pending| lanes.is_astray(index, &pending.order);
        for pending in self.cell.lane.queue.remove(is_stray) {
            // Bytes that wait are counted for all lanes together.
            if let Some(pending) = lanes.forward(index, pending) {
                self.refuse(pending, Refused::Away);
            }
        }
    }
}
