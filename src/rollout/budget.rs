//! How many instances of a rollout have ended badly, and how many may. Pure.

use super::outcome::BudgetKind;
use crate::policy::Budgets;

/// One number for each budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([usize; 4]);

impl Tally {
    /// The budgets of a policy for a rollout of so many instances.
    pub fn of(budgets: &Budgets, total: usize) -> Self {
        let count = |kind| match kind {
            BudgetKind::Failed => budgets.failed,
            BudgetKind::RolledBack => budgets.rolled_back,
            BudgetKind::Unreachable => budgets.unreachable,
            BudgetKind::Unknown => budgets.unknown,
        };
        Self::from_fn(|kind| count(kind).of(total))
    }

    /// A number for each kind.
    pub fn from_fn(number: impl Fn(BudgetKind) -> usize) -> Self {
        Self(BudgetKind::ALL.map(number))
    }

    /// The number of one kind.
    pub fn get(self, kind: BudgetKind) -> usize {
        self.0[kind as usize]
    }

    /// One more.
    pub fn add(&mut self, kind: BudgetKind) {
        self.0[kind as usize] += 1;
    }

    /// All of them.
    pub fn sum(self) -> usize {
        self.0.iter().sum()
    }

    /// The first kind of which more is spent than `allowed`.
    pub fn exceeds(self, allowed: Self) -> Option<BudgetKind> {
        BudgetKind::ALL.into_iter().find(|kind| self.get(*kind) > allowed.get(*kind))
    }

    /// How many more may end badly, whatever the way, before a budget is exceeded.
    pub fn left_of(self, allowed: Self) -> usize {
        let left = BudgetKind::ALL.map(|kind| allowed.get(kind).saturating_sub(self.get(kind)));
        left.into_iter().min().unwrap_or_default()
    }
}
