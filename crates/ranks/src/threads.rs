//! Ranks as threads of one process.

use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Communicator, RankError};

/// A rank that is a thread: one process drives several devices, or, in tests, one device several times.
///
/// Each call is a meeting: every rank leaves what it has, and the last to come hands all of it to everyone.
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    shared: Arc<Shared>,
}

/// What a rank leaves for the others.
type Left = Arc<dyn Any + Send + Sync>;

#[derive(Debug)]
struct Shared {
    world: usize,
    meeting: Mutex<Meeting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Meeting {
    /// Meetings that are over.
    held: u64,
    /// What the ranks have left so far.
    left: Vec<Option<Left>>,
    arrived: usize,
    /// What was left in the last one.
    handed: Arc<Vec<Left>>,
    failed: Option<RankError>,
}

impl Threads {
    /// All ranks of a world, to be moved into a thread each.
    pub fn all(world: usize) -> Vec<Self> {
        let shared = Arc::new(Shared {
            world,
            meeting: Mutex::new(Meeting {
                left: vec![None; world],
                ..Meeting::default()
            }),
            changed: Condvar::new(),
        });
        let rank = |rank| Self {
            rank,
            shared: Arc::clone(&shared),
        };
        (0..world).map(rank).collect()
    }

    /// What every rank has left, in the order of the ranks.
    fn meet<T: Any + Send + Sync>(&self, own: T) -> Result<Vec<Arc<T>>, RankError> {
        let mut meeting = self.meeting();
        if let Some(failed) = &meeting.failed {
            return Err(failed.clone());
        }
        let this = meeting.held;
        meeting.left[self.rank] = Some(Arc::new(own));
        meeting.arrived += 1;
        if meeting.arrived == self.shared.world {
            meeting.handed = Arc::new(meeting.left.iter_mut().filter_map(Option::take).collect());
            meeting.arrived = 0;
            meeting.held += 1;
            self.shared.changed.notify_all();
        }
        // The next meeting can't end before this rank has left this one: it would have to arrive there.
        while meeting.held == this {
            if let Some(failed) = &meeting.failed {
                return Err(failed.clone());
            }
            let waited = self.shared.changed.wait(meeting);
            meeting = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let handed = Arc::clone(&meeting.handed);
        drop(meeting);
        let typed = |left: &Left| Arc::clone(left).downcast().ok();
        let all: Option<Vec<Arc<T>>> = handed.iter().map(typed).collect();
        all.ok_or(RankError::OutOfStep { rank: self.rank })
    }

    fn meeting(&self) -> MutexGuard<'_, Meeting> {
        let meeting = self.shared.meeting.lock();
        meeting.unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a rank brings to an exchange.
struct Sent {
    x: Vec<f32>,
    to: Vec<Range<usize>>,
}

impl Communicator for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.shared.world
    }

    fn host(&self) -> String {
        "this machine".to_owned()
    }

    fn limit(&self) -> usize {
        usize::MAX
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<(), RankError> {
        let own = if self.rank == 0 {
            bytes.to_vec()
        } else {
            Vec::new()
        };
        let all = self.meet(own)?;
        match all.first() {
            Some(first) if first.len() == bytes.len() => {
                bytes.copy_from_slice(first);
                Ok(())
            }
            _ => Err(RankError::OutOfStep { rank: self.rank }),
        }
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, RankError> {
        let all = self.meet(own.to_vec())?;
        Ok(all.iter().map(|bytes| bytes.to_vec()).collect())
    }

    fn exchange(&self, x: &[f32], to: &[Range<usize>]) -> Result<Vec<f32>, RankError> {
        // Ranges that lie anywhere in `x`, brought together.
        let mut start = 0;
        let packed = to.iter().map(|range| {
            start += range.len();
            start - range.len()..start
        });
        let sent = Sent {
            to: packed.collect(),
            x: to
                .iter()
                .flat_map(|range| &x[range.clone()])
                .copied()
                .collect(),
        };
        let all = self.meet(sent)?;
        let own = all.iter().map(|sent| &sent.x[sent.to[self.rank].clone()]);
        Ok(own.flatten().copied().collect())
    }

    fn all_gather_ranges(&self, x: &mut [f32], of: &[Range<usize>]) -> Result<(), RankError> {
        let all = self.meet(x[of[self.rank].clone()].to_vec())?;
        for (range, values) in of.iter().zip(&all) {
            if range.len() != values.len() {
                return Err(RankError::OutOfStep { rank: self.rank });
            }
            x[range.clone()].copy_from_slice(values);
        }
        Ok(())
    }

    fn set_patience(&self, _: Option<Duration>) {}

    fn abort(&self, why: &str) {
        self.meeting().failed.get_or_insert(RankError::Failed {
            rank: self.rank,
            host: self.host(),
            why: why.to_owned(),
        });
        self.shared.changed.notify_all();
    }
}
