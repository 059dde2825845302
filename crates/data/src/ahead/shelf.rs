//! What lies on the disk for a stream, counted: what is needed least recently goes first.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Something on the disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// A fetched file, by its location.
    File(PathBuf),
    /// A window of a shard.
    Window {
        /// The number of the shard.
        shard: usize,
        /// The window.
        window: usize,
    },
}

/// How an item is kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: u64,
    /// When it was needed last, counted in needs.
    needed: u64,
    /// Who reads or writes it now; it stays as long as somebody does.
    holds: usize,
    /// Whether it is there for a need that is still to come.
    awaited: bool,
    /// Of a window: whether it is the last of its shard.
    pub(crate) is_last: bool,
}

/// Who asks for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Somebody waits.
    Now,
    /// It will be needed, or may be again: what waits for its need isn't given up for it.
    Later,
}

/// Items up to a number of bytes.
#[derive(Debug)]
pub(crate) struct Shelf {
    budget: u64,
    used: u64,
    needs: u64,
    items: BTreeMap<Item, Kept>,
}

impl Shelf {
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            budget,
            used: 0,
            needs: 0,
            items: BTreeMap::new(),
        }
    }

    /// Counts an item, which is held.
    pub(crate) fn put(&mut self, item: Item, bytes: u64, is_last: bool) {
        self.needs += 1;
        let kept = Kept {
            bytes,
            needed: self.needs,
            holds: 1,
            awaited: false,
            is_last,
        };
        self.used += bytes;
        if let Some(before) = self.items.insert(item, kept) {
            self.used -= before.bytes;
        }
    }

    /// No longer counts an item.
    pub(crate) fn remove(&mut self, item: &Item) {
        if let Some(kept) = self.items.remove(item) {
            self.used -= kept.bytes;
        }
    }

    pub(crate) fn get(&self, item: &Item) -> Option<&Kept> {
        self.items.get(item)
    }

    /// Keeps an item until it is let go as often as it is held; whether it is there.
    pub(crate) fn hold(&mut self, item: &Item) -> bool {
        self.needs += 1;
        let Some(kept) = self.items.get_mut(item) else {
            return false;
        };
        kept.holds += 1;
        kept.needed = self.needs;
        true
    }

    /// Lets a held item go.
    pub(crate) fn let_go(&mut self, item: &Item, awaited: bool) {
        self.needs += 1;
        if let Some(kept) = self.items.get_mut(item) {
            kept.holds = kept.holds.saturating_sub(1);
            kept.needed = self.needs;
            kept.awaited = awaited;
        }
    }

    /// Says whether an item is there for a need that is still to come.
    pub(crate) fn expect(&mut self, item: &Item, awaited: bool) {
        if let Some(kept) = self.items.get_mut(item) {
            kept.awaited = awaited;
        }
    }

    /// Makes room for so many bytes: what has to go for it, which isn't counted any more; nothing where there can't be so
    /// much.
    pub(crate) fn room_for(&mut self, bytes: u64, need: Need) -> Option<Vec<Item>> {
        let mut excess = self.used.checked_add(bytes)?.saturating_sub(self.budget);
        let free = |kept: &Kept| kept.holds == 0 && (need == Need::Now || !kept.awaited);
        let mut candidates: Vec<_> = self.items.iter().filter(|(_, kept)| free(kept)).collect();
        candidates.sort_by_key(|(_, kept)| kept.needed);
        let mut going = Vec::new();
        for (item, kept) in candidates {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(kept.bytes);
            going.push(item.clone());
        }
        if excess > 0 {
            return None;
        }
        for item in &going {
            self.remove(item);
        }
        Some(going)
    }

    /// Everything that nobody holds, which isn't counted any more.
    pub(crate) fn clear(&mut self) -> Vec<Item> {
        let free = self.items.iter().filter(|(_, kept)| kept.holds == 0);
        let going: Vec<Item> = free.map(|(item, _)| item.clone()).collect();
        for item in &going {
            self.remove(item);
        }
        going
    }

    /// Whether a shard's windows from one on are there up to its last.
    pub(crate) fn has_windows(&self, shard: usize, from: usize) -> bool {
        (from..)
            .map_while(|window| self.items.get(&Item::Window { shard, window }))
            .any(|kept| kept.is_last)
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn window(window: usize) -> Item {
        Item::Window { shard: 0, window }
    }

    #[test]
    fn the_least_recently_needed_goes_first() {
        let mut shelf = Shelf::new(10);
        for number in 0..5 {
            assert_eq!(shelf.room_for(2, Need::Later).unwrap(), []);
            shelf.put(window(number), 2, number == 4);
            shelf.let_go(&window(number), false);
        }
        assert!(shelf.has_windows(0, 2) && !shelf.has_windows(1, 0));
        assert!(shelf.hold(&window(0)));
        // The first is held, so that the second is the oldest.
        assert_eq!(
            shelf.room_for(3, Need::Later).unwrap(),
            [window(1), window(2)]
        );
        assert!(!shelf.has_windows(0, 2) && shelf.has_windows(0, 3));
        assert_eq!(shelf.used(), 6);
        shelf.let_go(&window(0), true);
        // What is waited for goes where somebody waits now.
        assert_eq!(shelf.room_for(9, Need::Later), None);
        assert_eq!(shelf.room_for(9, Need::Now).unwrap().len(), 3);
        assert_eq!(shelf.room_for(11, Need::Now), None);
        assert_eq!(shelf.room_for(u64::MAX, Need::Now), None);
        assert_eq!((shelf.used(), shelf.clear().len()), (0, 0));
    }
}
