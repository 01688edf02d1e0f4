//! Why a module did not answer. A closed set: it labels counters, stands in every decision record, and is what a replay
//! plays back instead of hoping for the same clock.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::form::form;

/// Why a rung of the ladder did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It ran into `unreachable`, a bad memory access, a stack overflow or another WebAssembly trap.
    Trap,
    /// It was still running when its share of the deadline was used up, or none was left to start it.
    Deadline,
    /// It asked for more memory than its limit.
    Memory,
    /// It answered with the wrong number of values, too many bytes, or NaN where a number must stand.
    BadOutput,
    /// It answered with an error of its own.
    Refused,
    /// An input it declares as `missing = "error"` had no value, or a view it reads is late and says `refuse`.
    Input,
    /// It failed often lately, so it was not asked.
    Open,
    /// As many calls of it as may run at once did already, so it was not asked.
    Busy,
    /// The node had more to do than it could in time, so no scorer was asked.
    Shed,
}

form!(enum Fault {
    Trap,
    1 Deadline,
    2 Memory,
    3 BadOutput,
    4 Refused,
    5 Input,
    6 Open,
    7 Busy,
    8 Shed,
});

impl Fault {
    /// Every fault, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::Trap,
        Self::Deadline,
        Self::Memory,
        Self::BadOutput,
        Self::Refused,
        Self::Input,
        Self::Open,
        Self::Busy,
        Self::Shed,
    ];

    /// Whether it speaks against the release: its module failed, or is not asked because it failed. A late view or a busy node says
    /// nothing of that.
    pub fn is_the_releases(self) -> bool {
        !matches!(self, Self::Input | Self::Busy | Self::Shed)
    }

    /// Whether how much the node had to do has a part in it.
    pub fn is_of_load(self) -> bool {
        matches!(self, Self::Busy | Self::Shed)
    }

    /// Its name in answers, metrics and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::BadOutput => "bad_output",
            Self::Refused => "refused",
            Self::Input => "input",
            Self::Open => "open",
            Self::Busy => "busy",
            Self::Shed => "shed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
