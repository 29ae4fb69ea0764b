//! Record numbers in the order of a time, then of their id. Pure.

use std::cmp::Ordering;

/// How `ORDERBY Id` sorts: nobody has written down which of the two QuickBooks does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdOrder {
    #[default]
    Number,
    Text,
}

impl IdOrder {
    /// The order of two record numbers.
    pub fn compare(self, a: u64, b: u64) -> Ordering {
        match self {
            IdOrder::Number => a.cmp(&b),
            IdOrder::Text => padded(a).cmp(&padded(b)).then(a.cmp(&b)),
        }
    }
}

/// Digits moved to the left of nineteen places, so that numbers compare as their texts do.
fn padded(number: u64) -> u64 {
    number.saturating_mul(10u64.saturating_pow(18 - number.max(1).ilog10().min(18)))
}

/// The numbers, sorted. A time is in seconds.
pub struct Index {
    order: IdOrder,
    entries: Vec<(i64, u64)>,
}

impl Index {
    /// Of these.
    pub fn new(order: IdOrder, mut entries: Vec<(i64, u64)>) -> Self {
        entries.sort_unstable_by(|a, b| compare(order, a, b));
        Index { order, entries }
    }

    /// How ids sort.
    pub fn id_order(&self) -> IdOrder {
        self.order
    }

    /// Adds one.
    pub fn insert(&mut self, entry: (i64, u64)) {
        if let Err(at) = self.entries.binary_search_by(|other| compare(self.order, other, &entry)) {
            self.entries.insert(at, entry);
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, entry: (i64, u64)) {
        if let Ok(at) = self.entries.binary_search_by(|other| compare(self.order, other, &entry)) {
            self.entries.remove(at);
        }
    }

    /// Gives many a new time at once.
    pub fn moved(&mut self, gone: &std::collections::HashSet<u64>, come: &[(i64, u64)]) {
        self.entries.retain(|(_, number)| !gone.contains(number));
        self.entries.extend_from_slice(come);
        let order = self.order;
        // The stable sort is quick on what is sorted but for its end.
        self.entries.sort_by(|a, b| compare(order, a, b));
    }

    /// Those whose time is in the half-open range.
    pub fn range(&self, from: i64, until: i64) -> &[(i64, u64)] {
        let start = self.entries.partition_point(|(time, _)| *time < from);
        let end = self.entries.partition_point(|(time, _)| *time < until);
        self.entries.get(start..end).unwrap_or_default()
    }
}

fn compare(order: IdOrder, a: &(i64, u64), b: &(i64, u64)) -> Ordering {
    a.0.cmp(&b.0).then_with(|| order.compare(a.1, b.1))
}
