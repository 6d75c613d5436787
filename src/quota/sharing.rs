//! What instances tell one another of charges.
//!
//! Each charges its own buckets at once, and hears a little later what others have charged: a debt, which is
//! paid out of the bucket before anything else. Who has debts is refused, so that what was too much is made
//! up for.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Who;

/// Most charges that wait to be told, and most debtors; more are left out.
const ENTRIES_MAX: usize = 100_000;

/// The longest debt in minutes of a limit: what is beyond is forgiven.
const DEBT_MINUTES_MAX: u32 = 10;

/// Whose, of which limit.
pub(super) type Account = (Who, NonZeroU32);

/// What is to be told, and what was heard.
#[derive(Default, Debug)]
pub(super) struct Sharing {
    to_tell: Mutex<HashMap<Account, u32>>,
    debts: Mutex<HashMap<Account, u32>>,
    /// There are some: most of the time there is none, and nobody has to look.
    has_debts: AtomicBool,
}

impl Sharing {
    /// Something was charged here.
    pub(super) fn note(&self, account: Account, count: NonZeroU32) {
        add(&mut lock(&self.to_tell), account, count.get(), u32::MAX);
    }

    /// What was charged since the last time, at most so many accounts.
    pub(super) fn take(&self, accounts_max: usize) -> Vec<(Account, u32)> {
        let mut to_tell = lock(&self.to_tell);
        let some: Vec<Account> = to_tell.keys().take(accounts_max).copied().collect();
        let taken = some
            .into_iter()
            .filter_map(|account| to_tell.remove_entry(&account));
        taken.collect()
    }

    /// Something was charged elsewhere.
    pub(super) fn owe(&self, account: Account, count: u32) {
        let debt_max = account.1.get().saturating_mul(DEBT_MINUTES_MAX);
        add(&mut lock(&self.debts), account, count, debt_max);
        self.has_debts.store(true, Ordering::Relaxed);
    }

    /// How much somebody owes.
    pub(super) fn debt_of(&self, account: Account) -> u32 {
        if !self.has_debts.load(Ordering::Relaxed) {
            return 0;
        }
        lock(&self.debts).get(&account).copied().unwrap_or(0)
    }

    /// Has debts paid: `pay` takes as much of an amount as there is, and returns that.
    pub(super) fn settle(&self, pay: impl Fn(Account, NonZeroU32) -> u32) {
        let mut debts = lock(&self.debts);
        debts.retain(|account, debt| {
            if let Some(amount) = NonZeroU32::new(*debt) {
                *debt -= pay(*account, amount).min(*debt);
            }
            *debt > 0
        });
        self.has_debts.store(!debts.is_empty(), Ordering::Relaxed);
    }
}

fn add(accounts: &mut HashMap<Account, u32>, account: Account, count: u32, max: u32) {
    let is_full = accounts.len() >= ENTRIES_MAX;
    match accounts.get_mut(&account) {
        Some(sum) => *sum = sum.saturating_add(count).min(max),
        None if is_full => {}
        None => {
            accounts.insert(account, count.min(max));
        }
    }
}

fn lock(accounts: &Mutex<HashMap<Account, u32>>) -> MutexGuard<'_, HashMap<Account, u32>> {
    // Each change is one step.
    accounts.lock().unwrap_or_else(PoisonError::into_inner)
}
